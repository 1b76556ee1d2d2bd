"""Saved numbers of runs, as `pretrain` and `evaluate` leave them."""

METRICS = [
    {"step": 10, "seconds": 1.0, "loss": 2.0, "r2": 0.1},
    {"drawn": 11, "skipped": 1},
    {"step": 20, "seconds": 2.0, "loss": 1.0, "r2": 0.3, "held_out_r2": 0.2, "effective_rank": 7.5},
    {"step": 30, "loss": 0.5, "r2": float("nan"), "held_out_r2": 0.4, "effective_rank": 8.25},
]


def result(name, score, *, labels="all", evaluation="linear_probe", **changes):
    return {
        "evaluation": evaluation,
        "representation": name,
        "metric": "accuracy",
        "score": score,
        "interval": [score - 0.05, score + 0.05],
        "higher_is_better": True,
        "chance": 0.25,
        "labels": labels,
        "num_train": 70,
        "num_test": 30,
        "draws": 1,
        "seed": 0,
        "secondary": {},
        **changes,
    }


def entry(score=0.8, *, label="y", data="data.npz", outcome="helped", **changes):
    names = {"metamae": score, "untrained": 0.5, "pca": 0.6, "raw": 0.55}
    return {
        "version": "0.1.0",
        "data": data,
        "label": label,
        "task": {"kind": "classification"},
        "num_train": 70,
        "num_test": 30,
        "seed": 0,
        "verdict": f"Pretraining {outcome} with {label}.",
        "notes": ["a note"],
        "results": [
            result(name, value - lost, labels=labels, **changes)
            for labels, lost in (("all", 0.0), ("5 per class", 0.1))
            for name, value in reversed(names.items())
        ],
        "comparisons": [],
        "verdicts": [{"embedding": "metamae", "outcome": outcome}],
    }
