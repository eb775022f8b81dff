"""Flows on S^2 beside Meta's flow-matching, torchdiffeq and plain diffrax: what a step and a likelihood cost.

``python benchmarks/flows.py [--quick]``: one network, an MLP of 3 x 128 swish units, plain and with our default of 128
Fourier features, with the same weights everywhere: trained by 2000 matching steps on the known mixture on the sphere
(``datasets.spherical_mixture``). Needs the extras ``experiments`` and ``bench``; torch is left out where one of it,
torchdiffeq and flow-matching is not installed. Prints Markdown, to a file with ``--output FILE``.

- Matching step, batch 512: ours inside one scan; ``GeodesicProbPath`` on the ``Sphere`` of flow-matching, torch's Adam.
- Likelihood step, batch 512, from the trained weights: ours by Tsit5 (1e-5) and by 12 steps of RK4; torchdiffeq's
  dopri5 (1e-5), through its steps and by its adjoint; diffrax's Tsit5 (1e-5) as in its example of a continuous
  normalizing flow, vmapped over the points, with the error control that the example leaves out.
- Likelihood of 488 points, and its error against float64 at 1e-10. flow-matching has no likelihood on manifolds: its
  ``RiemannianODESolver`` (Euler, projected) gets the log-determinant as a further coordinate of the state.

In torch the exact divergence is the trace over three coordinates, by reverse derivatives or, where gradients of it are
asked for, by forward ones: whichever has been measured to be the faster.

Targets: a matching step at least 100 times cheaper than a likelihood step, and 6 times cheaper than flow-matching's;
ours the fastest of each table; mean log-likelihood within 1e-4 nats.

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


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the experiments are not installed

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _report import cpu_name, revision, table

from experiments.flows import training
from geodl import datasets, distributions, flows, train
from geodl.flows.continuous.field import random_frequencies
from geodl.flows.continuous.time import RESOLUTION
from geodl.manifolds import Sphere


BATCH, POINTS = 512, 488
TOLERANCE = 1e-5
LEARNING_RATE = 1e-6  # of the timed steps, which so stay with the trained weights
MATCHING, LIKELIHOOD, EVALUATION = "matching step", "likelihood step", "likelihood"
OURS, OURS_TSIT5, OURS_RK4 = "**ours**", "**ours**, Tsit5 1e-5", "**ours**, RK4, 12 steps"
META, EULER = "flow-matching", "flow-matching's Euler, {} steps"
DOPRI, ADJOINT = "torchdiffeq, dopri5 1e-5", "torchdiffeq, dopri5 1e-5, adjoint"
DIFFRAX = "diffrax, Tsit5 1e-5, vmap"
NETWORKS = {"plain": 0, "Fourier": 128}  # Fourier features
TRAINING = 2000  # steps
TORCH_PACKAGES = ("torch", "flow_matching", "torchdiffeq")


def train_model(frequencies, data, steps):
    """Network and weights after the training of the experiments."""
    recipe, manifold = training.Recipe(frequencies=frequencies, steps=steps), Sphere(2)
    model = training.Model(
        manifold, distributions.Uniform(manifold), recipe.field(manifold, "ambient")
    )
    optimizer, key = recipe.optimizer(), jax.random.key(0)
    step = train.make_step(training.matching(model, training.draw_from, BATCH), optimizer)
    state, _ = train.chunked(step)(train.init(model.field.init(key), optimizer, key), data, steps)
    return model, state.opt_state.average


# Each rival is a function to {name: (call, the steps in it)}; a call runs to the end, and that of an evaluation returns
# log-likelihoods and the number of times that the field was evaluated.


def our_steps(model, params, data, loss, n):
    """A call of n steps inside one scan."""
    optimizer = optax.adam(LEARNING_RATE)
    run = train.chunked(train.make_step(loss, optimizer))
    state = train.init(params, optimizer, jax.random.key(1))

    def call():
        nonlocal state
        state, _ = jax.block_until_ready(run(state, data, n))

    return call, n


def our_matching(model, params, data):
    return {
        OURS: our_steps(
            model, params, data, training.matching(model, training.draw_from, BATCH), 100
        )
    }


def our_likelihood(model, params, data):
    def by(log_prob):
        def loss(params, data, key):
            return -jnp.mean(log_prob(params, training.draw_from(data, key, BATCH))), {}

        return our_steps(model, params, data, loss, 1)

    def ours(solver):
        return lambda params, x: -flows.nll(flow(model, params, solver), x)

    plain = diffrax_log_prob(model)
    return {
        OURS_TSIT5: by(ours(flows.Tsit5(TOLERANCE, TOLERANCE))),
        OURS_RK4: by(ours(flows.RK4(12))),
        DIFFRAX: by(lambda params, x: plain(params, x)[0]),
    }


def our_evaluation(model, params, points):
    def ours(params, x):
        log_p, stats = flow(model, params, flows.Tsit5(TOLERANCE, TOLERANCE)).log_prob_and_stats(x)
        return log_p, stats.evaluations

    def call(log_prob):
        jitted = jax.jit(log_prob)
        return lambda: jax.block_until_ready(jitted(params, points)), 1

    return {OURS_TSIT5: call(ours), DIFFRAX: call(diffrax_log_prob(model))}


def diffrax_log_prob(model):
    """As one writes it with diffrax alone: for one point, by the trace of the Jacobian, and vmap."""

    def rate(t, state, params):
        x, _ = state
        v, pull = jax.vjp(lambda x: model.field.apply(params, t, x), x)
        (rows,) = jax.vmap(pull)(jnp.eye(len(x)))
        return v, jnp.trace(rows)

    def log_prob(params, x):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rate),
            diffrax.Tsit5(),
            1.0,
            0.0,
            None,
            (x, jnp.zeros(())),
            params,
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        )
        evaluations = 1 + 6 * solution.stats["num_steps"]
        return solution.ys[1][0] - np.log(4 * np.pi), evaluations

    def batched(params, x):
        log_p, evaluations = jax.vmap(log_prob, (None, 0))(params, x)
        return log_p, jnp.max(evaluations)  # all go on until the last has ended

    return batched


class Torch:
    """The same network and weights in torch, and what is built on them."""

    def __init__(self, model, params, frequencies, data, points):
        import torch
        from flow_matching.utils.manifolds import Sphere as MetaSphere

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch, self.sphere, self.evaluations = torch, MetaSphere(), 0
        self.data, self.points = (torch.from_numpy(np.array(a)) for a in (data, points))
        self.make_field(params, frequencies)
        t = np.linspace(0, 1, len(points), dtype=np.float32)
        theirs = self.field(torch.from_numpy(t), self.points).detach().numpy()
        np.testing.assert_allclose(
            theirs, model.field.apply(params, t, points), rtol=0, atol=1e-5 * np.abs(theirs).max()
        )

    def make_field(self, params, frequencies):
        torch, sphere = self.torch, self.sphere

        def tensor(a):
            return torch.from_numpy(np.array(a))

        class Field(torch.nn.Module):
            def __init__(self):
                super().__init__()
                layers = []
                for _, layer in sorted(params["layers"].items(), key=lambda item: int(item[0])):
                    linear = torch.nn.Linear(*layer["kernel"].shape)
                    linear.weight.data = tensor(layer["kernel"]).T.contiguous()
                    linear.bias.data = tensor(layer["bias"])
                    layers += [linear, torch.nn.SiLU()]
                self.mlp = torch.nn.Sequential(*layers[:-1])
                self.register_buffer("harmonics", np.pi * torch.arange(1, 5))
                omega = np.float32(random_frequencies(3, frequencies, training.Recipe.band, 0))
                self.register_buffer("frequencies", tensor(omega) if frequencies else None)

            def forward(self, t, x):
                x = sphere.projx(x)
                t = t.expand(x.shape[:-1])[..., None]
                s = torch.log1p((1 - t) / RESOLUTION) / np.log1p(1 / RESOLUTION)
                angles = s * self.harmonics
                features = [x, s, torch.sin(angles), torch.cos(angles)]
                if self.frequencies is not None:
                    w = self.frequencies
                    sharpness = torch.exp(-0.5 * (w * w).sum(0) * (1 - t) ** 2)
                    angles = x @ w
                    features += [sharpness * torch.sin(angles), sharpness * torch.cos(angles)]
                return sphere.proju(x, self.mlp(torch.cat(features, -1)))

        self.field = Field()

    def rate(self, t, x):
        """The field and its exact divergence; the faster way where gradients are asked for, and where not."""
        torch, func = self.torch, self.torch.func
        self.evaluations += 1
        if torch.is_grad_enabled():

            def along(e):
                return func.jvp(lambda x: self.field(t, x), (x,), (e.expand_as(x),))

            v, columns = func.vmap(along, out_dims=(None, 0))(torch.eye(3))
            return v, torch.einsum("ini->n", columns)

        with torch.enable_grad():
            x = x.detach().requires_grad_()
            v = self.field(t, x)
            totals = v.sum(0)
            rows = [torch.autograd.grad(a, x, retain_graph=True)[0] for a in totals]
        return v.detach(), sum(row[:, i] for i, row in enumerate(rows))

    def draw(self):
        return self.data[self.torch.randint(len(self.data), (BATCH,))]

    def steps(self, loss, n):
        optimizer = self.torch.optim.Adam(self.field.parameters(), lr=LEARNING_RATE)

        def call():
            for _ in range(n):
                optimizer.zero_grad()
                loss(self.draw()).backward()
                optimizer.step()

        return call, n

    def matching(self):
        from flow_matching.path import GeodesicProbPath
        from flow_matching.path.scheduler import CondOTScheduler

        torch, path = self.torch, GeodesicProbPath(CondOTScheduler(), self.sphere)

        def loss(x1):
            x0 = self.sphere.projx(torch.randn_like(x1))
            sample = path.sample(t=torch.rand(BATCH), x_0=x0, x_1=x1)
            return torch.mean((self.field(sample.t.squeeze(-1), sample.x_t) - sample.dx_t) ** 2)

        return {META: self.steps(loss, 10)}

    def by_torchdiffeq(self, name):
        """Log-likelihoods by one of its functions."""
        import torchdiffeq

        torch, rate = self.torch, self.rate

        class Rate(torch.nn.Module):  # the adjoint finds the weights in it
            def __init__(self, field):
                super().__init__()
                self.field = field

            def forward(self, t, state):
                return rate(t, state[0])

        solve, function = getattr(torchdiffeq, name), Rate(self.field)

        def log_prob(x):
            start, times = (x, torch.zeros(len(x))), torch.tensor([1.0, 0.0])
            _, integral = solve(
                function, start, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"
            )
            return integral[-1] - np.log(4 * np.pi)

        return log_prob

    def likelihood(self):
        def by(name):
            log_prob = self.by_torchdiffeq(name)
            return self.steps(lambda x: -log_prob(x).mean(), 1)

        return {DOPRI: by("odeint"), ADJOINT: by("odeint_adjoint")}

    def by_euler(self, n):
        """Log-likelihoods by flow-matching's solver, time turned round since it only goes forward."""
        from flow_matching.solver import RiemannianODESolver

        torch, sphere = self.torch, self.sphere

        class Augmented(type(sphere)):
            def projx(self, state):
                return torch.cat([sphere.projx(state[:, :3]), state[:, 3:]], -1)

            def proju(self, state, u):
                return torch.cat([sphere.proju(state[:, :3], u[:, :3]), u[:, 3:]], -1)

        def velocity(x, t):
            v, divergence = self.rate(1 - t, x[:, :3])
            return -torch.cat([v, divergence[:, None]], -1)

        solver = RiemannianODESolver(Augmented(), velocity)

        def log_prob(x):
            start = torch.cat([x, torch.zeros(len(x), 1)], -1)
            return solver.sample(start, step_size=1 / n)[:, 3] - np.log(4 * np.pi)

        return log_prob

    def evaluate(self, log_prob):
        def call():
            self.evaluations = 0
            with self.torch.no_grad():
                return log_prob(self.points).numpy(), self.evaluations

        return call, 1

    def evaluation(self):
        return {
            DOPRI: self.evaluate(self.by_torchdiffeq("odeint")),
            EULER.format(1000): self.evaluate(self.by_euler(1000)),
        }


def flow(model, params, solver):
    return flows.ContinuousFlow(model.base, model.field, params, solver)


def measure(calls, rounds, seconds):
    """Milliseconds of a step in every call, the calls taking turns, and what the last call returned.

    Instead of the times of a rival that fails stands its error.
    """
    times, results, running = {name: [] for name in calls}, {}, dict(calls)

    def take(name):
        call, steps = running[name]
        start = time.process_time()
        try:
            results[name] = call()
        except AssertionError as failure:  # torchdiffeq's adjoint: "underflow in dt"
            print(f"{name}: {failure}", file=sys.stderr)
            times[name] = failure
            del running[name]
        else:
            times[name].append(1e3 * (time.process_time() - start) / steps)

    for name in calls:
        take(name)
    times = {name: [] if name in running else failure for name, failure in times.items()}
    end = time.monotonic() + seconds
    for done in range(rounds):
        if done >= 3 and time.monotonic() > end:
            break
        for name in tuple(running):
            take(name)
    return times, results


def reference(model, params, points):
    """Log-likelihoods in float64 at tolerances of 1e-10."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.array(a, np.float64)), (params, points))
        solver = flows.Tsit5(1e-10, 1e-10, 100_000)
        return np.array(jax.jit(lambda p, x: flow(model, p, solver).log_prob(x))(*wide))


def accuracy(model, params, points, evaluated, torch):
    """Mean negative log-likelihood, and the rows of errors; ``evaluated`` is what the timed evaluations gave."""
    exact, found = reference(model, params, points), dict(evaluated)
    if torch is not None:
        found[EULER.format(100)] = torch.evaluate(torch.by_euler(100))[0]()
    for steps in (12, 64):
        solver = flows.RK4(steps)
        negative = jax.jit(lambda p, x, solver=solver: flows.nll(flow(model, p, solver), x))
        found[f"**ours**, RK4, {steps} steps"] = -negative(params, points), 4 * steps
    errors = {name: np.asarray(log_p, np.float64) - exact for name, (log_p, _) in found.items()}
    return -np.mean(exact), [
        [name, f"{found[name][1]}", f"{np.mean(error):+.1e}", f"{np.max(np.abs(error)):.1e}"]
        for name, error in errors.items()
    ]


def report(times):
    """Least times (medians in parentheses) and their ratios to ours, the first; ``times[task][network][rival]``."""
    lines = []
    for task, networks in times.items():
        for network, taken in networks.items():
            ours = min(next(iter(taken.values())))
            for rival, t in taken.items():
                if isinstance(t, Exception):
                    lines.append([task, network, rival, f"fails: {t}", ""])
                    continue
                digits = 2 if min(t) < 100 else 0
                milliseconds = f"{min(t):,.{digits}f} ({statistics.median(t):,.{digits}f})"
                lines.append([task, network, rival, milliseconds, f"{min(t) / ours:.2f}"])
    return table(["", "network", "", "CPU ms", "/ ours"], lines)


def summary(times):
    """The ratios that have a target."""
    lines = []
    for network in NETWORKS:
        matching = times[MATCHING][network]
        likelihood = times[LIKELIHOOD][network]
        ratios = [min(likelihood[name]) / min(matching[OURS]) for name in (OURS_TSIT5, OURS_RK4)]
        line = (
            f"{network}: a likelihood step costs {ratios[0]:.0f} matching steps by Tsit5, {ratios[1]:.0f} "
            "by 12 steps of RK4 (target: at least 100)"
        )
        if META in matching:
            ratio = min(matching[META]) / min(matching[OURS])
            line += (
                f"; a matching step of flow-matching costs {ratio:.1f} of ours (target: at least 6)"
            )
        lines.append(f"- {line}.")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--output", type=Path, help="file such as docs/results/flows_speed.md")
    options = parser.parse_args()
    many, few, seconds = (5, 3, 0) if options.quick else (40, 7, 60)

    missing = [name for name in TORCH_PACKAGES if not find_spec(name)]
    if missing:
        print(f"torch is left out: not installed: {', '.join(missing)}", file=sys.stderr)
    keys = jax.random.split(jax.random.key(2), 2)
    data, points = (
        np.array(datasets.spherical_mixture(key, n))
        for key, n in zip(keys, (10_000, POINTS), strict=True)
    )
    data = jnp.asarray(data)
    times = {task: {} for task in (MATCHING, LIKELIHOOD, EVALUATION)}
    errors = {}
    for network, frequencies in NETWORKS.items():
        model, params = train_model(frequencies, data, TRAINING)
        torch = None if missing else Torch(model, params, frequencies, data, points)

        def timed(task, ours, theirs, rounds, network=network):
            calls = ours | (theirs() if theirs is not None else {})
            times[task][network], results = measure(calls, rounds, seconds)
            print(f"{network}, {task}: done", file=sys.stderr)
            return results

        # First what needs the weights as they are: the steps of torch change them a little.
        evaluated = timed(
            EVALUATION, our_evaluation(model, params, points), torch and torch.evaluation, few
        )
        errors[network] = accuracy(model, params, points, evaluated, torch)
        timed(MATCHING, our_matching(model, params, data), torch and torch.matching, many)
        timed(LIKELIHOOD, our_likelihood(model, params, data), torch and torch.likelihood, few)

    versions = [f"Python {platform.python_version()}"]
    for name in ("jax", "diffrax", "torch", "flow-matching", "torchdiffeq"):
        if find_spec(name.replace("-", "_")):
            versions.append(f"{name} {metadata.version(name)}")
    command = " ".join(["python", "benchmarks/flows.py", *sys.argv[1:]])
    parts = [
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core), "
        f"{', '.join(versions)}: S^2, 3 x 128 swish (Fourier: {NETWORKS['Fourier']} features), batch {BATCH}, "
        f"likelihoods of {POINTS} points, float32. The least (and the median) of many calls.",
        report(times),
        summary(times),
    ]
    header = ["", "evaluations", "error of the mean, nats", "largest error"]
    for network, (nll, rows) in errors.items():
        parts.append(
            f"Log-likelihoods against float64 Tsit5 at 1e-10, {network} (mean negative log-likelihood {nll:.4f} "
            f"nats; of the distribution itself {datasets.SPHERICAL_MIXTURE_ENTROPY:.4f}):\n\n"
            + table(header, rows)
        )
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
