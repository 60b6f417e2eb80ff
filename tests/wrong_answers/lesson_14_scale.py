"""Wrong answers that students give to the exercises of lesson 14."""

from wrong_answers.wrong import Wrong

GROWTH = "return lora, prompt, prefix, sliced, 8 * lora, 20 * prompt"


def growth(mistake: str, answer: str, message: str) -> Wrong:
    """A wrong list of numbers."""
    return Wrong("predict_growth", mistake, GROWTH, f"return {answer}", message)


WRONG = [
    growth("LoRA stays", "32, 8, 4, 32, 256, 160", "LoRA grows too"),
    growth("LoRA in as many matrices", "8, 8, 4, 32, 64, 160", "four times as wide"),
    growth("LoRA grows with the depth alone", "16, 8, 4, 32, 32, 160", "each wants its LoRA"),
    growth("a prompt in each block", "4, 4, 4, 32, 32, 80", "not one in each block"),
    growth("a prompt that stays", "4, 32, 4, 32, 32, 640", "as wide as the model"),
    growth("a prefix at the input", "4, 8, 8, 32, 32, 160", "in every block"),
    growth("a prefix as deep, not as wide", "4, 8, 16, 32, 32, 160", "keys and values are as wide"),
    growth("the weights grow with the width alone", "4, 8, 4, 16, 32, 160", "deeper, too"),
    growth("the slice's share stays", "4, 8, 4, 1, 32, 160", "the weights do not"),
    growth("the rank stays", "4, 8, 4, 32, 8, 160", "the old rank"),
    growth("the rank as the weights", "4, 8, 4, 32, 256, 160", "less than the weights"),
    growth("vectors as the width", "4, 8, 4, 32, 32, 80", "undoes four times"),
    growth("vectors as the weights", "4, 8, 4, 32, 32, 640", "wider by themselves"),
    growth("no vectors", "4, 8, 4, 32, 32, 0", "6:"),
    growth("five numbers", "4, 8, 4, 32, 32", "return 6 numbers"),
    growth(
        "counted by the library",
        '4, 8, 4, 32, 32, METHODS["prompt"].count(GPTConfig(9, 9, 2, 2, 4), num_virtual_tokens=40)',
        "calculate",
    ),
    Wrong(
        "sizes_that_reach",
        "unfinished left out",
        "    def smallest(",
        "    sizes, scores, full = sizes[finished], scores[finished], full[full_finished]\n"
        "    finished, full_finished = finished[finished], full_finished[full_finished]\n\n    def smallest(",
        "left out because they are unfinished",
    ),
    Wrong(
        "sizes_that_reach",
        "unfinished as finished",
        "scores.where(finished, 1), full.where(full_finished, 1)",
        "scores, full",
        "count as finished",
    ),
    Wrong(
        "sizes_that_reach",
        "the line does not move",
        "share * full.mean(), share * full_hoped.mean()",
        "share * full.mean(), share * full.mean()",
        "full's unfinished runs count as finished",
    ),
    Wrong(
        "sizes_that_reach",
        "full ends high in both",
        "share * full.mean(), share * full_hoped.mean()",
        "share * full_hoped.mean(), share * full_hoped.mean()",
        "which endings",
    ),
    Wrong(
        "sizes_that_reach",
        "the lines the other way round",
        "return smallest(hoped, easy), smallest(scores, hard)",
        "return smallest(hoped, hard), smallest(scores, easy)",
        "which endings",
    ),
    Wrong(
        "sizes_that_reach",
        "unfinished end at nothing",
        "smallest(scores, hard)",
        "smallest(scores * finished, hard)",
        "cannot end below",
    ),
    Wrong(
        "sizes_that_reach",
        "unfinished end at 1",
        "smallest(scores, hard)",
        "smallest(hoped, hard)",
        "for certain",
    ),
    Wrong(
        "sizes_that_reach",
        "the best run of a size",
        "scores[sizes == size].mean()",
        "scores[sizes == size].max()",
        "not by the best",
    ),
    Wrong(
        "sizes_that_reach",
        "all runs of a size",
        "scores[sizes == size].mean()",
        "scores[sizes == size].min()",
        "every run of a size",
    ),
    Wrong(
        "sizes_that_reach",
        "the median run",
        "scores[sizes == size].mean()",
        "scores[sizes == size].median()",
        "which endings",
    ),
    Wrong(
        "sizes_that_reach",
        "a lucky size",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    def smallest(scores, line):
        for size in sizes.unique().tolist():
            if scores[sizes == size].mean() >= line:
                return size

    hoped, full_hoped = scores.where(finished, 1), full.where(full_finished, 1)
    return smallest(hoped, share * full.mean()), smallest(scores, share * full_hoped.mean())
""",
        "a larger one fails",
    ),
    Wrong(
        "sizes_that_reach",
        "the share of 1",
        "share * full.mean(), share * full_hoped.mean()",
        "share, share",
        "not of 1",
    ),
    Wrong(
        "sizes_that_reach",
        "without the share",
        "share * full.mean(), share * full_hoped.mean()",
        "full.mean(), full_hoped.mean()",
        "not the share of that",
    ),
    Wrong(
        "sizes_that_reach",
        "nine tenths, always",
        "share * full.mean(), share * full_hoped.mean()",
        "0.9 * full.mean(), 0.9 * full_hoped.mean()",
        "which endings",
    ),
    Wrong(
        "sizes_that_reach",
        "largest first",
        "return smallest(hoped, easy), smallest(scores, hard)",
        "return smallest(scores, hard), smallest(hoped, easy)",
        "the order is",
    ),
    Wrong("sizes_that_reach", "above the line", ".mean() < line", ".mean() <= line", "has reached it"),
    Wrong(
        "sizes_that_reach",
        "in the order that they come",
        "sorted(set(sizes.tolist()), reverse=True)",
        "list(dict.fromkeys(sizes.tolist()))[::-1]",
        "which endings",
    ),
    Wrong(
        "sizes_that_reach",
        "zero for none",
        "found = None\n",
        "found = 0\n",
        "sizes that were measured",
    ),
    Wrong(
        "sizes_that_reach",
        "one of the two",
        "return smallest(hoped, easy), smallest(scores, hard)",
        "return smallest(hoped, easy)",
        "return 2 things",
    ),
    Wrong(
        "sizes_that_reach",
        "scores changed",
        "    hoped, full_hoped = scores.where(finished, 1),",
        "    scores[~finished] = 1\n    hoped, full_hoped = scores,",
        "changed in place",
    ),
    Wrong(
        "mended_curve",
        "the given one",
        None,
        "def mended_curve(runs, steps):\n    return broken_curve(runs, steps)\n",
        "this is what broken_curve says",
    ),
    Wrong(
        "mended_curve",
        "survivors",
        "return score if score >= SOLVED else None  # arrived, or switched off",
        "return None",
        "count it as not known",
    ),
    Wrong(
        "mended_curve",
        "those that are left",
        "means = [sum(scores) / len(scores) for scores in known if None not in scores]",
        "known = [[dict(run)[step] for run in seeds if step in dict(run)] for seeds in runs.values()]\n"
        "        means = [sum(scores) / len(scores) for scores in known if scores]",
        "solved runs are missing",
    ),
    Wrong(
        "mended_curve",
        "a rate a seed",
        None,
        """def mended_curve(runs, steps):
    def at(run, step):
        return dict(run).get(step, run[-1][1] if run[-1][1] >= SOLVED else None)

    curve = []
    for step in steps:
        best = []
        for tries in zip(*runs.values()):
            known = [score for score in (at(run, step) for run in tries) if score is not None]
            best += [max(known)] if known else []
        curve.append(sum(best) / len(best) if best else None)
    return curve
""",
        "for each seed by itself",
    ),
    Wrong(
        "mended_curve",
        "held for ever",
        "score if score >= SOLVED else None",
        "score",
        "goes on with its last score",
    ),
    Wrong(
        "mended_curve",
        "a mean of a part",
        "means = [sum(scores) / len(scores) for scores in known if None not in scores]",
        "known = [[s for s in scores if s is not None] for scores in known]\n"
        "        means = [sum(scores) / len(scores) for scores in known if scores]",
        "the mean of a part",
    ),
    Wrong(
        "mended_curve",
        "nothing for off",
        "score if score >= SOLVED else None",
        "score if score >= SOLVED else 0.0",
        "counts as 0",
    ),
    Wrong(
        "mended_curve",
        "one for solved",
        "score if score >= SOLVED else None",
        "1.0 if score >= SOLVED else None",
        "counts as 1",
    ),
    Wrong(
        "mended_curve",
        "the mean of the rates",
        "max(means, default=None)",
        "sum(means) / len(means) if means else None",
        "all rates are in the mean",
    ),
    Wrong("mended_curve", "the worst rate", "max(means, default=None)", "min(means, default=None)", "and it is"),
    Wrong(
        "mended_curve",
        "the best run's rate",
        "means = [sum(scores) / len(scores) for scores in known if None not in scores]",
        "whole = [scores for scores in known if None not in scores]\n"
        "        means = [sum(max(whole, key=max)) / len(whole[0])] if whole else []",
        "best single run",
    ),
    Wrong(
        "mended_curve",
        "one rate for all steps",
        "    curve = []\n",
        "    last = max(step for seeds in runs.values() for run in seeds for step, _ in run)\n"
        "    known = {rate: [at(run, last) for run in seeds] for rate, seeds in runs.items()}\n"
        "    whole = {rate: sum(scores) for rate, scores in known.items() if None not in scores}\n"
        "    if whole:\n"
        "        runs = {(rate := max(whole, key=whole.get)): runs[rate]}\n"
        "    curve = []\n",
        "one rate is taken for all",
    ),
    Wrong(
        "mended_curve",
        "the best so far",
        "    return curve",
        "    for i in range(1, len(curve)):\n"
        "        if curve[i] is not None:\n"
        "            curve[i] = max(x for x in curve[: i + 1] if x is not None)\n"
        "    return curve",
        "the curve never falls",
    ),
    Wrong("mended_curve", "another line", "score >= SOLVED", "score >= 0.9", "goes on with its last score"),
    Wrong("mended_curve", "above the line", "score >= SOLVED", "score > SOLVED", "you say"),
    Wrong(
        "mended_curve",
        "off at the last measurement",
        "        if end < step:\n",
        "        if end <= step:\n",
        "and you say None",
    ),
    Wrong("mended_curve", "zero for none", "max(means, default=None)", "max(means, default=0.0)", "that is None"),
    Wrong(
        "mended_curve",
        "a step left out",
        "    return curve",
        "    return [x for x in curve if x is not None]",
        "entries in the list",
    ),
    Wrong("mended_curve", "a dictionary", "    return curve", "    return dict(zip(steps, curve))", "return a list"),
    Wrong(
        "mended_curve",
        "steps sorted",
        "    curve = []\n",
        "    steps = sorted(steps)\n    curve = []\n",
        "steps",
    ),
    Wrong(
        "mended_curve",
        "runs filled up",
        "    curve = []\n",
        "    for seeds in runs.values():\n"
        "        for run in seeds:\n"
        "            if run[-1][1] >= SOLVED:\n"
        "                run += [(step, run[-1][1]) for step in steps if step > run[-1][0]]\n"
        "    curve = []\n",
        "was changed",
    ),
    Wrong(
        "sizes_that_reach",
        "the next larger size alone",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    found = []
    for first in (True, False):
        end = torch.where(finished, scores, 1.0) if first else scores
        line = share * (full if first else torch.where(full_finished, full, 1.0)).mean()
        measured = sizes.unique().tolist()
        good = [bool(end[sizes == n].mean() >= line) for n in measured]
        found.append(next((n for i, n in enumerate(measured) if all(good[i:i + 2])), None))
    return tuple(found)
""",
        "one beyond it does not",
    ),
    Wrong(
        "sizes_that_reach",
        "unfinished runs end at SOLVED",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    found = []
    for first in (True, False):
        end = torch.where(finished, scores, SOLVED) if first else scores
        line = share * (full if first else torch.where(full_finished, full, SOLVED)).mean()
        measured = sizes.unique().tolist()
        good = [bool(end[sizes == n].mean() >= line) for n in measured]
        found.append(next((n for i, n in enumerate(measured) if all(good[i:])), None))
    return tuple(found)
""",
        "not to SOLVED alone",
    ),
    Wrong(
        "sizes_that_reach",
        "three runs of full",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    found = []
    for first in (True, False):
        end = torch.where(finished, scores, 1.0) if first else scores
        line = share * (full if first else torch.where(full_finished, full, 1.0))[:3].sum() / 3
        measured = sizes.unique().tolist()
        good = [bool(end[sizes == n].mean() >= line) for n in measured]
        found.append(next((n for i, n in enumerate(measured) if all(good[i:])), None))
    return tuple(found)
""",
        "which endings",
    ),
]
