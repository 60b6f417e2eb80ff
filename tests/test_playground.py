"""The playground's JavaScript against PyTorch: logits, gradient steps, tasks; and the page in a browser."""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from browser import needs_chromium, needs_node, opened, run_js

import minitransformer as mt
from minitransformer.tasks import SKILLS, difference, question_codes

SITE = Path(__file__).parents[1] / "site"
PAGE = SITE / "extra" / "playground"

spec = importlib.util.spec_from_file_location("playground", SITE / "playground.py")
playground = importlib.util.module_from_spec(spec)
spec.loader.exec_module(playground)

SAVED = sorted(file.stem for file in playground.ADAPTERS.glob("*.safetensors"))


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The playground's files as one script, in the order of the page."""
    folder = tmp_path_factory.mktemp("playground")
    playground.write_data(folder / "data.js")
    names = [PAGE / "tensor.js", PAGE / "gpt.js", PAGE / "tasks.js", folder / "data.js"]
    return "\n".join(file.read_text(encoding="utf-8") for file in names)


def tokens(n=3, T=12):
    return torch.randint(10, (n, T), generator=torch.Generator().manual_seed(5))


@needs_node
@pytest.mark.parametrize("saved", ["base", *SAVED])
def test_logits_are_those_of_pytorch(scripts, tmp_path, saved):
    idx = tokens()
    body = """
        const gpt = new GPT(DATA.base);
        const method = name === "base" ? null : readMethod(DATA.methods[name]);
        const { logits } = gpt.forward(idx, method);
        return Array.from(logits.data);
    """
    found = run_js(scripts, tmp_path, body, idx=idx.tolist(), name=saved.replace("_", " "))
    model = mt.load_base("tiny")
    if saved != "base":
        model = mt.load_adapter(model, playground.ADAPTERS / f"{saved}.safetensors")
    with torch.no_grad():
        expected = model(idx)
    assert torch.tensor(found).view(3, 12, 10).sub(expected).abs().max() < 1e-4


@needs_node
def test_strength_and_rank_of_a_lora_are_those_of_its_matrices(scripts, tmp_path):
    body = """
        const method = { ...readMethod(DATA.methods["lora compose"]), strength: 0.7, rank: 2 };
        return Array.from(new GPT(DATA.base).forward(idx, method).logits.data);
    """
    found = run_js(scripts, tmp_path, body, idx=tokens().tolist())
    model = mt.load_adapter(mt.load_base("tiny"), playground.ADAPTERS / "lora_compose.safetensors")
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "lora_A"):
                U, S, V = torch.linalg.svd(module.lora_B @ module.lora_A, full_matrices=False)
                module.lora_B.copy_(0.7 * F.pad(U[:, :2] * S[:2], (0, 2)))
                module.lora_A.copy_(F.pad(V[:2], (0, 0, 0, 2)))
        expected = model(tokens())
    assert torch.tensor(found).view(3, 12, 10).sub(expected).abs().max() < 1e-4


@needs_node
def test_rows_of_a_mixed_batch_are_answered_as_if_alone(scripts, tmp_path):
    body = """
        const gpt = new GPT(DATA.base);
        const three = ["lora recall", "prefix recall", "ia3 compose"].map((name) => readMethod(DATA.methods[name]));
        const mixed = gpt.forward(idx, three).logits.data;
        const alone = three.flatMap((method, b) => Array.from(gpt.forward([idx[b]], method).logits.data));
        return Math.max(...alone.map((value, j) => Math.abs(value - mixed[j])));
    """
    assert run_js(scripts, tmp_path, body, idx=tokens().tolist()) == 0


@needs_node
@pytest.mark.parametrize("method", ["lora", "ia3", "adapter", "prompt"])
def test_gradient_steps_are_those_of_pytorch(scripts, tmp_path, method):
    body = """
        let state = 7;
        const random = () => ((state = (state * 48271) % 2147483647) / 2147483647) * 2 - 1;
        const gpt = new GPT(DATA.base);
        const fresh = startMethod(gpt, method, random);
        for (const x of Object.values(fresh.weights)) x.data.forEach((_, j, data) => (data[j] += 0.1 * random()));
        const begin = Object.fromEntries(Object.entries(fresh.weights).map(([name, x]) => [name, Array.from(x.data)]));
        const adam = new Adam(Object.values(fresh.weights), 0.01);
        const losses = [];
        for (let step = 0; step < 3; step++) {
            const loss = crossEntropy(gpt.forward(idx, fresh).logits, targets.flat());
            backward(loss);
            adam.step();
            losses.push(loss.data[0]);
        }
        const end = Object.fromEntries(Object.entries(fresh.weights).map(([name, x]) => [name, Array.from(x.data)]));
        return { begin, end, losses };
    """
    idx = tokens()
    targets = torch.where(torch.arange(12) < 6, -1, tokens(T=13)[:, 1:])
    found = run_js(scripts, tmp_path, body, idx=idx.tolist(), targets=targets.tolist(), method=method)

    adapted = mt.attach(mt.load_base("tiny"), method)
    parameters = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    names = {id(tensor): name for name, tensor in parameters.items()}
    if method == "lora":
        ours = {name.replace(".lora_", "."): parameter for name, parameter in parameters.items()}
    else:
        ours = playground.browser_names(method, parameters)
    assert ours.keys() == found["begin"].keys()
    assert {id(tensor) for tensor in ours.values()} == set(names)
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(torch.tensor(found["begin"][name]).view_as(parameter))
    optimizer = torch.optim.AdamW(ours.values(), lr=0.01, weight_decay=0)
    for step in range(3):
        loss = F.cross_entropy(adapted(idx).flatten(0, 1), targets.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.values(), 1.0)
        optimizer.step()
        assert loss.item() == pytest.approx(found["losses"][step], abs=1e-4)
    for name, parameter in ours.items():
        assert torch.tensor(found["end"][name]).view_as(parameter).sub(parameter).abs().max() < 1e-4, name


@needs_node
def test_tasks_and_held_out_questions_are_those_of_the_course(scripts, tmp_path):
    body = """
        const held = [];
        const digits = (code) => Array.from({ length: 6 }, (_, i) => Math.floor(code / 8 ** (5 - i)) % 8);
        for (let code = 0; code < 4000; code++) if (isHeldOut(digits(code))) held.push(code);
        return { held, answers: Object.fromEntries(names.map((name) => [name, TASKS[name](question)])) };
    """
    names = ["ascending", "descending", "add one", "add two", "learn"]
    question = [3, 1, 7, 0, 2, 2]
    found = run_js(scripts, tmp_path, body, names=names, question=question)
    assert found["held"] == [code for code in question_codes(held_out=True).tolist() if code < 4000]
    functions = [*SKILLS.values(), difference]
    expected = {
        name: function(torch.tensor([question]))[0].tolist() for name, function in zip(names, functions, strict=True)
    }
    assert found["answers"] == expected


@pytest.fixture
def page(tmp_path):
    """The page, copied to where it can be changed."""
    folder = tmp_path / "page"
    shutil.copytree(PAGE, folder)
    playground.write_data(folder / "data.js")
    return folder / "index.html"


@needs_chromium
def test_page_opens_from_a_file_without_an_error(page):
    shown = opened(page)
    assert shown.count('class="symbol"') == 6
    assert shown.count("<tr><td>") == 3
    assert "http" not in (PAGE / "index.html").read_text(encoding="utf-8")


@needs_chromium
def test_what_was_trained_on_the_page_can_be_attached_there(page):
    shown = opened(page, "start(); trainOn(); trainOn(); stop();")
    assert "13,824 numbers train; step 2" in shown
    assert "<option>lora recall (yours)</option>" in shown or 'value="lora recall (yours)"' in shown
    assert shown.count('class="symbol"') == 6


@needs_chromium
def test_what_is_no_question_is_named(page):
    assert "not “3 9 x”" in opened(page, '$("question").value = "3 9 x"; answer();')
