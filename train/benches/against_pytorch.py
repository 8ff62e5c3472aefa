#!/usr/bin/env python3
"""Training and scoring speed beside PyTorch, on the same machine and in one run, alternating.

Each round measures every size once by `lmtrain bench` and once by the PyTorch program in every mode;
a figure is the median over the rounds. The PyTorch program prints one JSON line per size and mode,
with `train_tokens_per_s` and `score_tokens_per_s`.

  cargo build --release
  python train/benches/against_pytorch.py --peer ../shared/bench/torch_baseline.py --python /opt/torch/bin/python

On a GPU (`cargo build --release --features cuda`), with lmtrain in bf16 as it trains there:

  python train/benches/against_pytorch.py --peer ../shared/bench/torch_baseline.py --python /opt/torch/bin/python --device cuda \\
    --sizes 200K,800K,3.2M,38M --batch 32
"""
import argparse, json, os, statistics, subprocess, sys


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the PyTorch program")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--lmtrain", default="target/release/lmtrain")
    parser.add_argument("--sizes", default="200K,3.2M")
    parser.add_argument("--modes", default="f32,f32-compile,bf16,bf16-compile")
    parser.add_argument("--batch", default="4")
    parser.add_argument("--context", default="2048")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", help="what lmtrain computes in: f32 or bf16 (by default, the device's)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write every figure to this file")
    arguments = parser.parse_args()
    sizes, modes = arguments.sizes.split(","), arguments.modes.split(",")
    shape = ["--batch", arguments.batch, "--context", arguments.context, "--device", arguments.device]
    found, machine = {}, {}

    def keep(size, who, line):
        for what in ("train", "score"):
            found.setdefault((size, what, who), []).append(line[f"{what}_tokens_per_s"])
        # What a processor trains at in bf16 too, if it has the instruction.
        if line.get("train_bf16_tokens_per_s"):
            found.setdefault((size, "train", "lmtrain bf16"), []).append(line["train_bf16_tokens_per_s"])

    for round in range(arguments.rounds):
        for size in sizes:
            print(f"round {round + 1} of {arguments.rounds}, {size} …", file=sys.stderr)
            bench = [arguments.lmtrain, "bench", "--size", size, "--only", "train,score", "--json", "--quiet"]
            if arguments.precision:
                bench += ["--precision", arguments.precision]
            machine = json.loads(run(bench + shape))
            keep(size, "lmtrain", machine["sizes"][0])
            for mode in modes:
                peer = [arguments.python, arguments.peer, "--sizes", size, "--modes", mode]
                for line in run(peer + shape).splitlines():
                    keep(size, mode, json.loads(line))
    if arguments.json:
        figures = [{"size": size, "what": what, "who": who, "tokens_per_s": values}
                   for (size, what, who), values in found.items()]
        with open(arguments.json, "w") as file:
            json.dump({"machine": machine, "figures": figures}, file, indent=1)
            file.write(os.linesep)
    median = {key: statistics.median(values) for key, values in found.items()}
    print(f"{machine['machine']}; {machine['device']}, {machine['precision']}, {machine['simd']}; batch {arguments.batch} × {arguments.context}; "
          f"medians of {arguments.rounds} rounds, tokens/s; in brackets how many times as fast lmtrain is, in the order of its columns\n")
    ours = [who for who in ("lmtrain", "lmtrain bf16") if any(key[2] == who for key in median)]
    print("| | " + " | ".join(ours + [f"PyTorch {mode}" for mode in modes]) + " |")
    print("| --- |" + " --: |" * (len(ours) + len(modes)))
    for size in sizes:
        for what, label in (("train", "training"), ("score", "scoring")):
            own = [median.get((size, what, who)) for who in ours]
            cells = [f"{speed:,.0f}" if speed else "–" for speed in own]
            for mode in modes:
                peer = median[size, what, mode]
                cells.append(f"{peer:,.0f} (" + ", ".join(f"{speed / peer:.2f}" for speed in own if speed) + ")")
            print(f"| {size}, {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
