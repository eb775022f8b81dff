"""Flows and counterfactual searches beside normflows, zuko and torch.func: what a step, a search, a Jacobian cost.

``python benchmarks/counterfactuals.py [--quick]``: a Glow of 28 x 28 gray images, 2 levels of 6 steps, conditioners of
64 channels (3 x 3, 1 x 1, 3 x 3), affine, and a small convolutional classifier, both trained for a moment on
scikit-learn's digits. The same network with the same weights in torch: normflows' blocks, with the prior of the split
and the bounded log-scales of ours, which it lacks; the two agree to rounding. And a dense RealNVP of 784 dimensions,
6 couplings (512, 512), beside zuko's of the same shapes. Needs the extras ``experiments`` and ``bench``; what is not
installed is left out. Prints Markdown, to a file with ``--output docs/results/counterfactuals_speed.md``.

- Training step (Adam), log-density, sampling, batch 64.
- Search: the gradient in z of a class's log-odds, weights frozen, batch 64; a step of the search, Adam in z; and the
  whole search of 64 images, each to its stopping point (99 %): ours in one batch, and 16 at once, where the next comes
  in as soon as one has ended; torch's one by one, as the published code does it.
- The full 784 x 784 Jacobian of the decoder with its singular values; ``torch.func.jacrev`` by the best of some chunks.

Targets: training never slower, dense training 1.5 times, search 5 times, and all else 2 times as fast.

Run it by ``make bench``, or with the Makefile's ``GLIBC_TUNABLES`` in the environment: with huge pages that are kept
neither side spends its time on page faults.

One process, one core (it pins itself), process CPU time; the rivals take turns call by call, so that noise hits all
alike; the least of the calls counts.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _report import cpu_name, revision, table
from jax.tree_util import Partial

from geodl import counterfactual as cf
from geodl import datasets, flows, nn, train
from geodl.bijectors import plu_of_rotation


BATCH, SHAPE, DIMS = 64, (28, 28, 1), 784
LEVELS, WIDTH = ((2, 6), (2, 6)), 64
COUPLINGS, WIDTHS = 6, (512, 512)
CLASSIFIER = nn.conv_classifier(SHAPE, 10)
LEARNING_RATE, TRAINED = 1e-3, (60, 200)  # steps of the Glow, of the classifier
SEARCH_RATE, SEARCH_STEPS, CONFIDENCE = 5e-2, 500, 0.99
CONCURRENT = 16  # searches at once
ROWS, CHUNKS = 28, (56, 112, 196)  # of the Jacobian at a time: ours; of jacrev
TRAINING, GRADIENT, STEP, SEARCH = "training step", "gradient in z", "search step", "whole search"
DENSITY, SAMPLES, JACOBIAN = "log-density", "samples", "Jacobian and spectrum"
DENSE = "RealNVP, "
COMPARED = {DENSITY: "log-densities", GRADIENT: "lengths of gradients", JACOBIAN: "singular values"}
TARGETS = {
    TRAINING: 1,
    DENSITY: 2,
    SAMPLES: 2,
    GRADIENT: 2,
    STEP: 2,
    SEARCH: 5,
    JACOBIAN: 2,
    DENSE + TRAINING: 1.5,
}
OURS, AT_ONCE, NORMFLOWS, ZUKO = (
    "**geodl**",
    f"**geodl**, {CONCURRENT} at once",
    "normflows",
    "zuko",
)
ONE_BY_ONE, JACREV = "normflows, one by one", "jacrev, chunk {}"


class Problem(NamedTuple):
    """What both sides are given."""

    glow: flows.InvertibleNet
    params: Any
    steps: Any  # (state, data, n), n steps of its training
    data: Any  # for them
    classifier: Any
    images: np.ndarray  # (BATCH, *SHAPE) uint8
    goal: np.ndarray  # (BATCH,) a class for each


def pixels(images):
    """The centers of the pixels' bins."""
    return (np.float32(images) + 0.5) / 256


def problem():
    """Flow and classifier after some training on digits, enlarged; images that they have not seen."""
    digits = datasets.digits()

    def enlarged(images):
        big = jax.image.resize(jnp.float32(images), (len(images), 28, 28), "linear")
        return np.uint8(np.clip(big, 0, 255))[..., None]

    data = jnp.asarray(enlarged(digits.train_images)), jnp.asarray(digits.train_labels)
    glow = flows.glow(SHAPE, LEVELS, WIDTH)
    key = jax.random.key(0)

    def some(data, key):
        rows = jax.random.randint(key, (BATCH,), 0, len(data[1]))
        return data[0][rows], data[1][rows]

    def bits(params, data, key):
        x, _ = some(data, key)
        return jnp.mean(flows.bits_per_dim(glow.distribution(params), x, key)), {}

    def cross_entropy(params, data, key):
        x, labels = some(data, key)
        logits = CLASSIFIER.apply(params, x / 256)
        nats = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(nats), {}

    def trained(loss, params, n):
        run = train.chunked(train.make_step(loss, optax.adam(LEARNING_RATE)), convolutional=True)
        state, metrics = run(train.init(params, optax.adam(LEARNING_RATE), key), data, n)
        print(f"trained to a loss of {metrics['loss'][-1]:.3f}", file=sys.stderr)
        return state.params, run

    params, steps = trained(bits, jax.jit(glow.init)(key), TRAINED[0])
    classifier, _ = trained(cross_entropy, jax.jit(CLASSIFIER.init)(key), TRAINED[1])
    test = enlarged(digits.test_images[:BATCH])
    goal = (digits.test_labels[:BATCH] + 1) % 10
    return Problem(glow, jax.jit(leveled)(params), steps, data, classifier, test, goal)


def leveled(params):
    """Biases and ActNorms of each pixel replaced by the means of the channels, as normflows has them."""

    def one(path, leaf):
        of_pixels = path[-1].key not in ("kernel", "lower", "upper") and leaf.ndim == 3
        return jnp.broadcast_to(jnp.mean(leaf, (0, 1)), leaf.shape) if of_pixels else leaf

    return jax.tree_util.tree_map_with_path(one, params)


def clipped(x):
    """To [0, 1]; a search passes gradients through."""
    return jnp.clip(x, 0, 1)


# What is timed: functions without arguments that run to the end; ours, and the rivals' by their names.


def our_steps(run, params, data, n):
    """n training steps."""
    state = train.init(params, optax.adam(LEARNING_RATE), jax.random.key(1))

    def call():
        nonlocal state
        state, _ = jax.block_until_ready(run(state, data, n))

    return call, n


def jitted(function, *arguments):
    """A call of the compiled function."""
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arguments)), 1


def density_and_samples(net, params, x):
    """Both from the parameters; as in normflows and zuko, a call makes what depends on them alone."""

    def samples(params, key):
        return net.distribution(params).sample(seed=key, sample_shape=(BATCH,))

    return {
        DENSITY: jitted(lambda params, x: net.distribution(params).log_prob(x), params, x),
        SAMPLES: jitted(samples, params, jax.random.key(2)),
    }


def our_calls(given: Problem):
    q = jax.jit(given.glow.distribution)(given.params)
    generator = given.glow.generator(given.params)
    x = jnp.asarray(pixels(given.images))
    z = jax.block_until_ready(jax.jit(q.bijector.inverse)(x))
    goal = jnp.asarray(given.goal)
    model = Partial(CLASSIFIER.apply, given.classifier)
    target = cf.confidence(CONFIDENCE)
    optimizer = optax.adam(SEARCH_RATE)
    search = cf.Search(generator, model, target, optimizer, SEARCH_STEPS, postprocess=clipped)
    start = search.init(z, goal)

    def log_odds(z, params, model):
        images = given.glow.bijector(params).forward(z)
        return jnp.sum(jax.vmap(target.objective)(model(images), goal))

    def whole(max_concurrent):
        def call():
            state, _ = cf.run(search, search.init(z, goal), max_concurrent=max_concurrent)
            return np.asarray(state.steps), np.asarray(state.status == cf.Status.FOUND)

        return call, 1

    return {
        TRAINING: our_steps(given.steps, given.params, given.data, 3),
        **density_and_samples(given.glow, given.params, x),
        GRADIENT: jitted(jax.grad(log_odds), z, given.params, model),
        STEP: jitted(lambda search, state: search.step(state), search, start),
        SEARCH: {OURS: whole(None), AT_ONCE: whole(CONCURRENT)},
        JACOBIAN: jitted(
            lambda generator, z: cf.singular_values(generator, z, batch_size=ROWS), generator, z[0]
        ),
    }


def dense_calls():
    """Ours on noise, and its parameters."""
    flow = flows.realnvp(DIMS, COUPLINGS, WIDTHS)
    x = jax.random.normal(jax.random.key(3), (BATCH, DIMS))
    params = jax.jit(flow.init)(jax.random.key(4))

    def loss(params, data, key):
        return flows.nll(flow.distribution(params), data).mean(), {}

    calls = {
        TRAINING: our_steps(
            train.chunked(train.make_step(loss, optax.adam(LEARNING_RATE))), params, x, 5
        ),
        **density_and_samples(flow, params, x),
    }
    return {DENSE + name: call for name, call in calls.items()}, params


class Torch:
    """The same Glow and classifier, of normflows' and torch's parts, and what is timed of them."""

    def __init__(self, given: Problem):
        import normflows
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch = torch
        self.flow = self.glow(normflows, given.params)
        self.frozen = self.glow(normflows, given.params).requires_grad_(False)
        self.classifier = self.make_classifier(given.classifier).requires_grad_(False)
        self.images = self.tensor(np.moveaxis(given.images, -1, 1))
        self.x = self.tensor(np.moveaxis(pixels(given.images), -1, 1))
        self.goal = self.tensor(given.goal).long()
        with torch.no_grad():
            self.z = [z.contiguous() for z in self.frozen.inverse_and_log_det(self.x)[0]]

    def tensor(self, a):
        return self.torch.from_numpy(np.array(a, order="C"))

    def glow(self, normflows, params):
        torch, parts, tensor = self.torch, normflows.flows, self.tensor

        class Conditioner(normflows.nets.ConvNet2d):
            """Its log-scales, every second channel, bounded as ours."""

            def __init__(self, weights):
                channels = [weights["first"]["kernel"].shape[2], WIDTH, WIDTH]
                outputs = weights["last"]["kernel"].shape[3]
                super().__init__([*channels, outputs], (3, 1, 3))
                order = np.arange(outputs).reshape(2, -1).T.ravel()
                biases = (weights["first_bias"], weights["mix"]["bias"], weights["last_bias"])
                for layer, name, bias in zip(
                    self.net[::2], ("first", "mix", "last"), biases, strict=True
                ):
                    size, shape = layer.kernel_size, (layer.in_channels, layer.out_channels)
                    kernel = np.reshape(weights[name]["kernel"], (*size, *shape))
                    kernel = np.transpose(kernel, (3, 2, 0, 1))
                    bias = np.reshape(bias, (-1, len(kernel)))[0]
                    if name == "last":
                        kernel, bias = kernel[order], bias[order]
                    layer.weight.data, layer.bias.data = tensor(kernel), tensor(bias)

            def forward(self, x):
                raw = super().forward(x)
                scales = 2 * torch.tanh(raw[:, 1::2] / 2)
                return torch.stack([raw[:, ::2], scales], 2).flatten(1, 2)

        class Squeeze(parts.Flow):
            """The channels in our order."""

            def forward(self, z):
                b, c, h, w = z.shape
                z = z.view(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
                return z.reshape(b, c // 4, 2 * h, 2 * w), 0

            def inverse(self, z):
                b, c, h, w = z.shape
                z = z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
                return z.reshape(b, 4 * c, h // 2, w // 2), 0

        def coupling(weights):
            return parts.AffineCouplingBlock(Conditioner(weights), True, "exp", "channel")

        def block(weights, constants):
            norm, conv = weights["actnorm"], weights["conv"]
            channels = norm["shift"].shape[-1]
            made = parts.GlowBlock(channels, WIDTH, scale_map="exp")
            made.flows[0] = coupling(weights["coupling"])
            mix, scale = made.flows[1:]
            mix.P, mix.sign_S = tensor(constants["permutation"]), tensor(constants["sign"])
            mix.L.data, mix.U.data = tensor(conv["lower"]), tensor(conv["upper"])
            mix.log_S.data = tensor(conv["log_scale"])
            scale.s.data, scale.t.data = (
                tensor(norm[name][0, 0]).view(1, channels, 1, 1) for name in ("log_scale", "shift")
            )
            scale.data_dep_init_done = torch.tensor(1.0)
            return made

        levels, bases, side, channels = [], [], SHAPE[0], SHAPE[2]
        rng = np.random.default_rng(0)  # as glow draws what it does not train
        while params:
            side, channels = side // 2, channels * 4
            names = sorted(name for name in params if name.startswith("step"))
            constants = [plu_of_rotation(rng, channels) for _ in names]
            steps = zip(reversed(names), reversed(constants), strict=True)
            blocks = [block(params[name], fixed) for name, fixed in steps]
            if "split" in params:
                blocks.insert(0, coupling(params["split"]))
                channels //= 2
            levels.append([*blocks, Squeeze()])
            bases.append(normflows.distributions.DiagGaussian((channels, side, side), False))
            params = params.get("rest")
        return normflows.MultiscaleFlow(
            bases[::-1],
            levels[::-1],
            [parts.Merge("channel") for _ in levels[1:]],
            normflows.transforms.Logit(0.05),
            class_cond=False,
        )

    def make_classifier(self, params):
        layers, linear = [], self.torch.nn.Linear
        features = params["features"]
        for _, weights in sorted(features["stages"].items()):
            conv = self.torch.nn.Conv2d(*weights["kernel"].shape[2:], 3, padding=1)
            conv.weight.data = self.tensor(np.transpose(weights["kernel"], (3, 2, 0, 1)))
            conv.bias.data = self.tensor(weights["bias"])
            layers += [conv, self.torch.nn.ReLU(), self.torch.nn.AvgPool2d(2)]
        channels = len(weights["bias"])
        for weights in (features["hidden"], params["logits"]):
            kernel = np.asarray(weights["kernel"])
            layers += [linear(*kernel.shape), self.torch.nn.ReLU()]
            layers[-2].weight.data, layers[-2].bias.data = map(
                self.tensor, (kernel.T, weights["bias"])
            )
        hidden = layers[
            -4
        ].weight.data  # of positions and channels, in torch of channels and positions
        hidden[:] = hidden.unflatten(1, (-1, channels)).transpose(1, 2).flatten(1)
        layers.insert(-4, self.torch.nn.Flatten())
        return self.torch.nn.Sequential(*layers[:-1])

    def log_odds(self, z, goal, clip=False):
        x, _ = self.frozen.forward_and_log_det(z)
        if clip:
            x.data.clamp_(0, 1)
        logits = self.classifier(x)
        own = self.torch.nn.functional.one_hot(goal, logits.shape[1]).bool()
        others = self.torch.where(own, -self.torch.inf, logits)
        return logits[own] - self.torch.logsumexp(others, -1)

    def gradient(self, z):
        z = [part.clone().requires_grad_() for part in z]
        slopes = self.torch.autograd.grad(self.log_odds(z, self.goal).sum(), z)
        return self.torch.cat([slope.flatten(1) for slope in slopes], 1)

    def training(self):
        optimizer = self.torch.optim.Adam(self.flow.parameters(), lr=LEARNING_RATE)
        for _ in range(3):
            x = (self.images + self.torch.rand(self.images.shape)) / 256
            optimizer.zero_grad()
            self.flow.forward_kld(x).backward()
            optimizer.step()

    def step(self):
        """A function that goes one step from the same start."""
        z = [part.clone().requires_grad_() for part in self.z]
        optimizer = self.torch.optim.Adam(z, lr=SEARCH_RATE)

        def call():
            optimizer.zero_grad()
            (-self.log_odds(z, self.goal, clip=True).sum()).backward()
            optimizer.step()

        return call

    def search(self):
        """Of one image after the other: the steps of each, and whether it was found."""
        threshold, steps, found = np.log(CONFIDENCE / (1 - CONFIDENCE)), [], []
        for i in range(BATCH):
            z = [part[i : i + 1].clone().requires_grad_() for part in self.z]
            optimizer = self.torch.optim.Adam(z, lr=SEARCH_RATE)
            taken, score = 0, -np.inf
            while True:
                gain = self.log_odds(z, self.goal[i : i + 1], clip=True)
                score = gain.item()
                if score >= threshold or taken == SEARCH_STEPS:
                    break
                optimizer.zero_grad()
                (-gain.sum()).backward()
                optimizer.step()
                taken += 1
            steps.append(taken)
            found.append(score >= threshold)
        return np.array(steps), np.array(found)

    def jacobian(self, chunk):
        """Of the decoder at the first image's latent, with its singular values."""
        torch = self.torch
        shapes = [part[:1].shape for part in self.z]
        sizes = [shape.numel() for shape in shapes]
        z = torch.cat([part[0].flatten() for part in self.z])

        def decode(z):
            parts = [a.view(s) for a, s in zip(z.split(sizes), shapes, strict=True)]
            return self.frozen.forward_and_log_det(parts)[0].flatten()

        rows = torch.func.jacrev(decode, chunk_size=chunk)(z)
        return torch.linalg.svdvals(rows).numpy()

    def calls(self):
        def without_gradients(function):
            def call():
                with self.torch.no_grad():
                    return function()

            return call, 1

        calls = {
            TRAINING: {NORMFLOWS: (self.training, 3)},
            DENSITY: without_gradients(lambda: self.frozen.log_prob(self.x, None)),
            SAMPLES: without_gradients(lambda: self.frozen.sample(BATCH)),
            GRADIENT: (lambda: self.gradient(self.z), 1),
            STEP: (self.step(), 1),
            SEARCH: {ONE_BY_ONE: (self.search, 1)},
            JACOBIAN: {
                JACREV.format(chunk): (lambda chunk=chunk: self.jacobian(chunk), 1)
                for chunk in CHUNKS
            },
        }
        return {
            task: found if isinstance(found, dict) else {NORMFLOWS: found}
            for task, found in calls.items()
        }


def zuko_calls():
    """zuko's RealNVP of the same shapes, and the number of its parameters."""
    import torch
    import zuko

    torch.set_num_threads(1)
    torch.manual_seed(0)
    flow = zuko.flows.RealNVP(
        DIMS, transforms=COUPLINGS, hidden_features=WIDTHS, activation=torch.nn.SiLU
    )
    x = torch.randn(BATCH, DIMS)
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)

    def training():
        for _ in range(5):
            optimizer.zero_grad()
            (-flow().log_prob(x).mean()).backward()
            optimizer.step()

    @torch.no_grad()
    def density():
        return flow().log_prob(x)

    @torch.no_grad()
    def samples():
        return flow().sample((BATCH,))

    calls = {TRAINING: (training, 5), DENSITY: (density, 1), SAMPLES: (samples, 1)}
    theirs = sum(p.numel() for p in flow.parameters())
    return {DENSE + name: {ZUKO: call} for name, call in calls.items()}, theirs


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def measure(calls, rounds, seconds):
    """Milliseconds of a step in every call, the calls taking turns, and what the last of them returned."""
    for call, _ in calls.values():
        call()
    times, results, end = {name: [] for name in calls}, {}, time.monotonic() + seconds
    for done in range(rounds):
        if done >= 2 and time.monotonic() > end:
            break
        for name, (call, steps) in calls.items():
            start = time.process_time()
            results[name] = call()
            times[name].append(1e3 * (time.process_time() - start) / steps)
    return times, results


def report(times):
    """Least times (medians in parentheses); rivals' as multiples of our best, the target at the best of them."""
    lines = []
    for task, taken in times.items():
        least = {name: min(t) for name, t in taken.items()}
        rivals = {name: t for name, t in least.items() if not name.startswith(OURS)}
        ours = min(t for name, t in least.items() if name not in rivals)
        best, target = min(rivals, key=lambda name: rivals[name], default=None), TARGETS.get(task)
        for name, t in taken.items():
            digits = 2 if min(t) < 10 else 1 if min(t) < 100 else 0
            ratio = f"{min(t) / ours:.2f}" if name in rivals else ""
            goal = f"{target:g}" if target and name == best else ""
            missed = ", **missed**" if goal and rivals[name] < target * ours else ""
            cell = f"{min(t):,.{digits}f} ({statistics.median(t):,.{digits}f})"
            lines.append([task, name, cell, ratio, goal + missed])
    return table(["", "", "CPU ms", "/ geodl", "target"], lines)


def agreement(results):
    """How near the results of both sides are; their latents are the same in another order."""
    lines = []
    for task, what in COMPARED.items():
        found = {name: np.asarray(value).reshape(-1, 1) for name, value in results[task].items()}
        if task == GRADIENT:
            found = {n: np.linalg.norm(a.reshape(BATCH, -1), axis=1) for n, a in found.items()}
        ours = found.pop(OURS)
        if found:
            error = max(np.max(np.abs(theirs - ours)) for theirs in found.values())
            lines.append(f"{what} by {error / np.max(np.abs(ours)):.0e}")
    return f"Differences, relative to the largest: {', '.join(lines)}." if lines else ""


def searches(results):
    """What the searches found."""
    lines = []
    for name, (steps, found) in results[SEARCH].items():
        lines.append(
            f"{name}: {found.sum()} of {len(found)} found, {steps.mean():.1f} steps on average, at most {steps.max()}"
        )
    return "; ".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--output", type=Path, help="docs/results/counterfactuals_speed.md")
    options = parser.parse_args()
    rounds, seconds = (3, 0) if options.quick else (15, 40)

    given = problem()
    dense, dense_params = dense_calls()
    calls = our_calls(given) | dense
    calls = {task: c if isinstance(c, dict) else {OURS: c} for task, c in calls.items()}
    sizes = [f"Glow of {count(given.params):,} parameters"]
    rivals = {}
    if find_spec("torch") and find_spec("normflows"):
        torch = Torch(given)
        rivals |= torch.calls()
        theirs = sum(p.numel() for p in torch.flow.parameters())
        sizes[0] += f" ({NORMFLOWS} {theirs:,}: its biases are not of each pixel)"
    sizes.append(f"RealNVP of {count(dense_params):,}")
    if find_spec("torch") and find_spec("zuko"):
        theirs, size = zuko_calls()
        rivals |= theirs
        sizes[1] += f" ({ZUKO} {size:,})"
    missing = [name for name in ("torch", "normflows", "zuko") if not find_spec(name)]
    if missing:
        print(f"rivals are left out: not installed: {', '.join(missing)}", file=sys.stderr)

    times, results = {}, {}
    for task, ours in calls.items():
        times[task], results[task] = measure(ours | rivals.get(task, {}), rounds, seconds)
        print(f"{task}: done", file=sys.stderr)

    versions = [f"Python {platform.python_version()}"]
    for name in ("jax", "torch", "normflows", "zuko"):
        if find_spec(name):
            versions.append(f"{name} {metadata.version(name)}")
    tunables = os.environ.get("GLIBC_TUNABLES")
    command = ["python", "benchmarks/counterfactuals.py", *sys.argv[1:]]
    command = " ".join([f"GLIBC_TUNABLES={tunables}", *command] if tunables else command)
    parts = [
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core, load average "
        f"{os.getloadavg()[1]:.1f}), {', '.join(versions)}: {'; '.join(sizes)}; batch {BATCH}, float32. The least (and "
        "the median) of many calls; a rival's time as a multiple of ours.",
        report(times),
        f"{searches(results)}.",
        agreement(results),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
