#!/usr/bin/env python3
"""Writes reference.json: both recipes at the smallest size, in float64, by PyTorch.

For each recipe: the loss of every token of one batch, the gradients, the losses of 20 training steps
and the weights after them. Weights and tokens come from formulas that the Rust test repeats, so that
no weights need to be stored. Needs only `torch`:  python make.py
"""
import json, math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
WIDTH, LAYERS, HEADS, VOCABULARY, BATCH, TIME, STEPS = 32, 4, 2, 256, 2, 16, 20


def tokens(step):
    values = [(7 * i + 3 * i * i + 11 * step) % 256 for i in range(BATCH * TIME)]
    return torch.tensor(values).view(BATCH, TIME)


def fill(index, shape, centre, deviation):
    count = math.prod(shape)
    values = [centre + deviation * math.sin(1.3 * i + 0.7 * index) for i in range(count)]
    # The network holds f32; starting from the rounded values leaves only its arithmetic to differ.
    return torch.tensor(values, dtype=torch.float32).double().view(shape).requires_grad_()


def parameters(recipe):
    """Paths in the order of their names, with shape, centre and deviation."""
    modern = recipe == "modern"
    shapes = {"embedding": ((VOCABULARY + modern, WIDTH), 0, 0.5), "head": ((WIDTH, VOCABULARY), 0, 0.2)}
    if not modern:
        shapes["head_bias"] = ((VOCABULARY,), 0, 0.1)
    for layer in range(LAYERS):
        block = {
            "qkv": ((WIDTH, 3 * WIDTH), 0, 0.25), "proj": ((WIDTH, WIDTH), 0, 0.2),
            "up": ((WIDTH, 4 * WIDTH), 0, 0.2), "down": ((4 * WIDTH, WIDTH), 0, 0.1),
        }
        if modern:
            block["gain"] = ((HEADS,), 1.5, 0.2)
        else:
            block |= {"up_bias": ((4 * WIDTH,), 0, 0.1), "down_bias": ((WIDTH,), 0, 0.1)}
            for norm in ("attention_norm", "mlp_norm"):
                block |= {f"{norm}.scale": ((WIDTH,), 1, 0.1), f"{norm}.offset": ((WIDTH,), 0, 0.1)}
        shapes |= {f"blocks.{layer}.{name}": value for name, value in block.items()}
    return {path: fill(index, *shapes[path]) for index, path in enumerate(sorted(shapes))}


def rms_norm(x):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def rope(x):
    d = x.shape[-1]
    angle = torch.arange(x.shape[-2])[:, None] * 10000.0 ** (-2 * torch.arange(d // 2) / d)
    first, second = x[..., : d // 2], x[..., d // 2:]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def attention(x, p, block, modern):
    q, k, v = (z.view(BATCH, TIME, HEADS, -1).transpose(1, 2) for z in (x @ p[f"{block}qkv"]).split(WIDTH, -1))
    if modern:
        q, k = rms_norm(q) * p[f"{block}gain"].view(1, -1, 1, 1), rms_norm(k)
    o = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
    return o.transpose(1, 2).reshape(BATCH, TIME, WIDTH) @ p[f"{block}proj"]


def losses(p, targets, modern):
    begin = torch.full((BATCH, 1), VOCABULARY if modern else 0)
    x = p["embedding"][torch.cat([begin, targets[:, :-1]], 1)]
    x = rms_norm(x) if modern else x * math.sqrt(WIDTH)
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        norm = lambda name, x: F.layer_norm(x, (WIDTH,), p[f"{block}{name}.scale"], p[f"{block}{name}.offset"], 1e-5)
        if modern:
            x = x + attention(rms_norm(x), p, block, True)
            x = x + F.relu(rms_norm(x) @ p[f"{block}up"]) ** 2 @ p[f"{block}down"]
        else:
            x = norm("attention_norm", x + attention(x, p, block, False))
            up = F.gelu(x @ p[f"{block}up"] + p[f"{block}up_bias"], approximate="tanh")
            x = norm("mlp_norm", x + up @ p[f"{block}down"] + p[f"{block}down_bias"])
    logits = rms_norm(x) @ p["head"] if modern else x @ p["head"] + p["head_bias"]
    logits = 15 * torch.tanh(logits / 15) if modern else logits
    return F.cross_entropy(logits.view(-1, VOCABULARY), targets.reshape(-1), reduction="none")


def orthogonal(x):
    if transposed := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if transposed else x


def adam(path, p, g, state, step, rate, beta1, beta2, epsilon):
    m, v = state.setdefault(path, [torch.zeros_like(p), torch.zeros_like(p)])
    m.mul_(beta1).add_(g, alpha=1 - beta1)
    v.mul_(beta2).add_(g * g, alpha=1 - beta2)
    p -= rate * (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + epsilon)


@torch.no_grad()
def update(p, state, step, modern):
    """One step, counted from 1, with the learning rates of lmtrain-runs' recipe table."""
    gradients = {path: value.grad for path, value in p.items()}
    norm = math.sqrt(sum((g * g).sum().item() for g in gradients.values()))
    scale = min(1.0, 1.0 / norm) if modern else 1.0
    factor = min(1.0, (STEPS - step + 1) / (0.4 * STEPS)) if modern else 1.0
    for path, value in p.items():
        g = gradients[path] * scale
        if not modern:
            adam(path, value, g, state, step, 1e-4, 0.9, 0.999, 1e-8)
        elif path.startswith("blocks.") and value.dim() == 2:
            (m,) = state.setdefault(path, [torch.zeros_like(value)])
            m.mul_(0.95).add_(g, alpha=0.05)
            ahead = 0.95 * m + 0.05 * g
            parts = ahead.chunk(3, 1) if path.endswith("qkv") else [ahead]
            rate = 0.02 * factor * math.sqrt(max(1, parts[0].shape[1] / parts[0].shape[0]))
            value -= rate * torch.cat([orthogonal(part) for part in parts], 1)
        else:
            rate = 0.02 if path == "embedding" else 0.005
            adam(path, value, g, state, step, rate * factor, 0.8, 0.95, 1e-10)
        value.grad = None
    return norm


def summary(tensor):
    flat = tensor.detach().flatten()
    return {"norm": flat.norm().item(), "first": flat[:3].tolist()}


def reference(recipe):
    modern = recipe == "modern"
    p, state = parameters(recipe), {}
    first = losses(p, tokens(0), modern)
    first.mean().backward()
    out = {"nats": first.tolist(), "gradients": {path: summary(v.grad) for path, v in p.items()}}
    for value in p.values():
        value.grad = None
    steps, norms = [], []
    for step in range(STEPS):
        loss = losses(p, tokens(step), modern).mean()
        loss.backward()
        steps.append(loss.item())
        norms.append(update(p, state, step + 1, modern))
    return out | {"losses": steps, "gradient_norms": norms, "weights": {path: summary(v) for path, v in p.items()}}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else float(f"{value:.9g}")


if __name__ == "__main__":
    result = {"made_by": f"PyTorch {torch.__version__.split('+')[0]}, float64"}
    result |= {recipe: rounded(reference(recipe)) for recipe in ("modern", "paper")}
    Path(__file__).with_name("reference.json").write_text(json.dumps(result, indent=0) + "\n")
