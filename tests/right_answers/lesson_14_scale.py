"""Right answers in other styles to the exercises of lesson 14."""

from right_answers.right import Right

GROWTH = "return lora, prompt, prefix, sliced, 8 * lora, 20 * prompt"

RIGHT = [
    Right("predict_growth", "a list", GROWTH, "return [4, 8, 4, 32, 32, 160]"),
    Right("predict_growth", "a tensor", GROWTH, "return torch.tensor([4, 8, 4, 32, 32, 160])"),
    Right("predict_growth", "whole floats", GROWTH, "return 32 / 8, 32 / 4, 32 / 8, 32.0, 32.0, 160.0"),
    Right(
        "sizes_that_reach",
        "tried one by one",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    best, worst = scores.clone(), full.clone()
    best[~finished] = 1.0
    worst[~full_finished] = 1.0
    results = []
    for mine, theirs in ((best, full), (scores, worst)):
        line = share * theirs.mean()
        result = None
        for size in sizes.unique():
            later = sizes[sizes >= size].unique()
            if all(mine[sizes == other].mean() >= line for other in later):
                result = size.item()
                break
        results.append(result)
    return results
""",
    ),
    Right(
        "sizes_that_reach",
        "sums in one go",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    distinct, place, count = sizes.unique(return_inverse=True, return_counts=True)

    def first(values, reference):
        means = torch.zeros(len(distinct), dtype=values.dtype).index_add(0, place, values) / count
        good = (means >= share * reference.mean()).flip(0).int().cumprod(0).flip(0)
        return int(distinct[len(distinct) - good.sum()]) if good.any() else None

    one = torch.ones((), dtype=scores.dtype)
    return first(torch.where(finished, scores, one), full), first(scores, torch.where(full_finished, full, one))
""",
    ),
    Right(
        "sizes_that_reach",
        "plain Python",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    groups = {}
    for size, score, done in zip(sizes.tolist(), scores.tolist(), finished.tolist()):
        groups.setdefault(size, []).append((score, score if done else 1.0))
    pairs = [(score, score if done else 1.0) for score, done in zip(full.tolist(), full_finished.tolist())]
    answers = []
    for ours, theirs in ((1, 0), (0, 1)):
        line = share * sum(pair[theirs] for pair in pairs) / len(pairs)
        failing = [n for n, group in groups.items() if sum(pair[ours] for pair in group) / len(group) < line]
        answers.append(min((n for n in groups if not failing or n > max(failing)), default=None))
    return tuple(answers)
""",
    ),
    Right(
        "sizes_that_reach",
        "every ending, one after the other",
        None,
        """def sizes_that_reach(sizes, scores, finished, full, full_finished, share):
    open_ends, open_full = (~finished).nonzero().flatten(), (~full_finished).nonzero().flatten()
    found = []
    for ends in itertools.product((False, True), repeat=len(open_ends) + len(open_full)):
        ours, theirs = scores.clone(), full.clone()
        for i, up in zip(open_ends, ends[: len(open_ends)]):
            ours[i] = 1.0 if up else ours[i]
        for i, up in zip(open_full, ends[len(open_ends) :]):
            theirs[i] = 1.0 if up else theirs[i]
        size = float("inf")
        for n in sizes.unique().flip(0).tolist():
            if ours[sizes == n].mean() < share * theirs.mean():
                break
            size = n
        found.append(size)
    return tuple(None if n == float("inf") else n for n in (min(found), max(found)))
""",
    ),
    Right(
        "mended_curve",
        "filled up first",
        None,
        """def mended_curve(runs, steps):
    table = {}
    for rate, seeds in runs.items():
        for run in seeds:
            scores = dict(run)
            done = [score for score in scores.values() if score >= SOLVED]
            for step in steps:
                table.setdefault((rate, step), []).append(scores.get(step, done[0] if done else None))
    curve = []
    for step in steps:
        best = None
        for rate in runs:
            row = table[rate, step]
            if all(score is not None for score in row):
                mean = sum(row) / len(row)
                best = mean if best is None else max(best, mean)
        curve.append(best)
    return curve
""",
    ),
    Right(
        "mended_curve",
        "nan for what is not known",
        None,
        """def mended_curve(runs, steps):
    nan = float("nan")
    table = torch.tensor(
        [
            [[dict(run).get(s, run[-1][1] if run[-1][1] >= SOLVED else nan) for s in steps] for run in seeds]
            for seeds in runs.values()
        ],
        dtype=torch.float64,
    )
    best = table.mean(dim=1).nan_to_num(-1.0).amax(dim=0)
    return [None if value < 0 else value for value in best.tolist()]
""",
    ),
    Right(
        "mended_curve",
        "a tuple",
        "    return curve",
        "    return tuple(curve)",
    ),
    Right(
        "mended_curve",
        "the measurement before",
        "return dict(run)[step]",
        "return max((pair for pair in run if pair[0] <= step), key=lambda pair: pair[0])[1]",
    ),
]
