"""Right answers in other styles to the exercises of lesson 10."""

from right_answers.right import Right

RIGHT = [
    Right("predict_desk", "a list", "return trained, dense, entries, way", "return [400, 144e6, entries, 0.02]"),
    Right(
        "predict_desk",
        "a tensor",
        "return trained, dense, entries, way",
        "return torch.tensor([trained, dense, entries, way], dtype=torch.double)",
    ),
    Right(
        "predict_desk",
        "a fraction",
        "return trained, dense, entries, way",
        "from fractions import Fraction\n    return trained, dense, entries, Fraction(3, 150)",
    ),
    Right("predict_dimensions", "a list", "return first, second, third", "return [first, second, third]"),
    Right("predict_dimensions", "whole floats", "return first, second, third", "return 25.0, 25.0, 20.0"),
    Right(
        "predict_dimensions", "a tensor", "return first, second, third", "return torch.tensor([first, second, third])"
    ),
    Right(
        "fair_wiring",
        "repeat, cut, shuffle",
        None,
        """
class FairWiring:
    def __init__(self, n, D, seed):
        g = torch.Generator()
        g.manual_seed(seed)
        cards = torch.arange(D).repeat(n // D + 1)[:n]
        self.slider = cards[torch.randperm(n, generator=g)]
        self.sign = torch.where(torch.rand(n, generator=g) < 0.5, -1, 1)
        self.root = torch.bincount(self.slider, minlength=D).double().sqrt()

    def project(self, z):
        return (z / self.root.to(z))[self.slider] * self.sign

    def pull(self, v):
        out = torch.zeros(len(self.root), dtype=v.dtype)
        out.index_add_(0, self.slider, v * self.sign)
        return out / self.root.to(v)
""",
    ),
    Right(
        "fair_wiring",
        "scatter_add",
        "v.new_zeros(self.D).index_add(0, self.slider, self.entry.to(v.dtype) * v)",
        "v.new_zeros(self.D).scatter_add(0, self.slider, self.entry.to(v.dtype) * v)",
    ),
    Right(
        "fair_wiring",
        "bincount with weights",
        "v.new_zeros(self.D).index_add(0, self.slider, self.entry.to(v.dtype) * v)",
        "torch.bincount(self.slider, weights=self.entry.to(v.dtype) * v, minlength=self.D).to(v.dtype)",
    ),
    Right(
        "recover_sliders",
        "least squares",
        "(P.T @ moved) / P.square().sum(dim=0)",
        "torch.linalg.lstsq(P, moved[:, None]).solution[:, 0]",
    ),
    Right("recover_sliders", "rest is a tensor", ".norm().item()", ".norm()"),
    Right(
        "recover_sliders",
        "the transpose by autograd",
        None,
        """
def recover_sliders(tuned, base, dimension, seed):
    wired = SubspaceGPT(base, dimension, seed)
    moved = flat(tuned) - flat(base)
    (along,) = torch.autograd.grad(wired.project(len(moved)), wired.z, moved)
    wired.z.data.fill_(1.0)
    (lengths,) = torch.autograd.grad(wired.project(len(moved)), wired.z, wired.project(len(moved)).detach())
    wired.z.data = along / lengths
    return [wired.z.detach().clone(), float((moved - wired.project(len(moved))).detach().norm())]
""",
    ),
    Right(
        "mended_subspace",
        "two draws in one",
        "        slider = torch.randint(D, (n,), generator=generator)  # (N,)\n        sign = 2 * torch.randint(2, (n,), generator=generator) - 1  # (N,)",
        "        draw = torch.randint(2 * D, (n,), generator=generator)\n        slider, sign = draw // 2, 2 * (draw % 2) - 1",
    ),
    Right(
        "mended_subspace",
        "a Gaussian's sign",
        "2 * torch.randint(2, (n,), generator=generator) - 1",
        "torch.randn(n, generator=generator, dtype=self.z.dtype).sign()",
    ),
    Right(
        "mended_subspace",
        "a parameter zeroed",
        "nn.Parameter(base.wte.weight.new_zeros(dimension))",
        "nn.Parameter(0 * torch.empty(dimension, dtype=base.wte.weight.dtype).fill_(1))",
    ),
    Right(
        "mended_subspace",
        "each column by its count",
        "math.sqrt(D / n)",
        "(1 / torch.bincount(slider, minlength=D).to(self.z.dtype).sqrt())[slider]",
    ),
    Right("fair_wiring", "entries in 32 bits", ".double().sqrt()", ".sqrt()"),
    # ---- what may be stored
    Right(
        "fair_wiring",
        "a group of weights for each slider",
        None,
        """
class FairWiring:
    def __init__(self, n, D, seed):
        g = torch.Generator().manual_seed(seed)
        order = torch.randperm(n, generator=g)
        self.groups = [order[j::D] for j in range(D)]
        self.signs = torch.randint(0, 2, (n,), generator=g) * 2 - 1

    def project(self, z):
        out = z.new_zeros(len(self.signs))
        for value, places in zip(z, self.groups, strict=True):
            out = out.index_put((places,), value * self.signs[places] / math.sqrt(len(places)))
        return out

    def pull(self, v):
        return torch.stack([(v[i] * self.signs[i]).sum() / math.sqrt(len(i)) for i in self.groups])
""",
    ),
    Right(
        "fair_wiring",
        "a dictionary",
        None,
        """
class FairWiring:
    def __init__(self, n, D, seed):
        g = torch.Generator().manual_seed(seed)
        slider = torch.randperm(n, generator=g) % D
        sign = 2.0 * torch.randint(2, (n,), generator=g) - 1
        self.p = {"D": D, "slider": slider, "entry": sign / torch.bincount(slider)[slider].double().sqrt()}

    def project(self, z):
        return self.p["entry"].to(z.dtype) * z[self.p["slider"]]

    def pull(self, v):
        return v.new_zeros(self.p["D"]).index_add(0, self.p["slider"], self.p["entry"].to(v.dtype) * v)
""",
    ),
    Right(
        "mended_subspace",
        "the generator's state kept",
        None,
        """
class MendedSubspaceGPT(nn.Module):
    def __init__(self, base, dimension, seed=0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.state = torch.Generator().manual_seed(seed).get_state()
        self.weights = dict(base.named_parameters())
        self.z = nn.Parameter(base.wte.weight.new_zeros(dimension))

    def project(self, n):
        g = torch.Generator()
        g.set_state(self.state)
        slider = torch.randint(len(self.z), (n,), generator=g)
        sign = 2 * torch.randint(2, (n,), generator=g) - 1
        return sign * self.z[slider] * (len(self.z) / n) ** 0.5

    def forward(self, idx):
        sizes = [weight.numel() for weight in self.weights.values()]
        steps = self.project(sum(sizes)).split(sizes)
        moved = {name: w + s.view_as(w) for (name, w), s in zip(self.weights.items(), steps, strict=True)}
        return functional_call(self.base, moved, (idx,))
""",
    ),
    Right("mended_subspace", "the root of a tensor", "math.sqrt(D / n)", "torch.sqrt(torch.tensor(D / n))"),
]
