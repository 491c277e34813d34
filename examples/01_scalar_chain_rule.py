"""Study 1: the chain rule by hand, then on the tape.    python examples/01_scalar_chain_rule.py --help

One neuron with one weight, one bias and one example: f(w, b) = (tanh(w x + b) - t)^2. Everything larger in this
project does the same with arrays instead of numbers. All numbers here are float64 and have no unit.
"""

import argparse
import math

import numpy as np

import tinyae as ta
from tinyae.backend import backend_named

options = argparse.ArgumentParser(description="The chain rule by hand, then on the tape.")
options.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu", help="where the Tensors live")
options.add_argument("--epochs", type=int, default=25, help="steps of gradient descent at the end")
options.add_argument("--page", help="FILE.html: write the backward pass as a page that a browser steps through")
options.add_argument("--seed", type=int, default=0, help="for the initial weight and bias")
args = options.parse_args()
try:
    backend = backend_named(args.device)
except ta.backend.DeviceError as error:
    options.error(str(error))
start = np.random.default_rng(args.seed).normal(size=2)
w, b, x, t = float(start[0]), float(start[1]), 1.5, 0.8


def leaf(value: float) -> ta.Tensor:
    """A 0-d Tensor on the chosen device that collects a gradient."""
    return ta.Tensor(backend.to_device(value, "float64"), requires_grad=True)


print(f"1. FORWARD, BY HAND, from w = {w:+.6f}, b = {b:+.6f}; the example is x = {x}, its target t = {t}")
z = w * x + b
y = math.tanh(z)
e = y - t
f = e * e
print(f"   z = w x + b = {z:+.6f}\n   y = tanh(z) = {y:+.6f}\n   e = y - t   = {e:+.6f}\n   f = e^2     = {f:+.6f}")

print("\n2. BACKWARD, BY HAND: each line multiplies the result of the line above by one local slope")
df_de = 2 * e
df_dy = df_de * 1
df_dz = df_dy * (1 - y * y)
df_dw, df_db = df_dz * x, df_dz * 1
print("   df/df                                            = +1.000000")
print(f"   df/de = df/df * 2e     = 1 * {2 * e:+.6f}           = {df_de:+.6f}")
print(f"   df/dy = df/de * 1      = {df_de:+.6f} * 1           = {df_dy:+.6f}")
print(f"   df/dz = df/dy * (1-y^2)= {df_dy:+.6f} * {1 - y * y:.6f}    = {df_dz:+.6f}")
print(f"   df/dw = df/dz * x      = {df_dz:+.6f} * {x}         = {df_dw:+.6f}")
print(f"   df/db = df/dz * 1      = {df_dz:+.6f} * 1           = {df_db:+.6f}")


def loss_of(w: ta.Tensor, b: ta.Tensor) -> ta.Tensor:
    """The same formula; on Tensors, every operation records a node on the tape."""
    e = ta.ops.tanh(w * x + b) - t
    return e * e


print("\n3. THE SAME WITH THE ENGINE: it has one rule per operation, and knows nothing about this formula")
W, B = leaf(w), leaf(b)
loss = loss_of(W, B)
print("   The tape, oldest node first. Downward: the values of 1. Upward: the slopes of 2 (norms, without sign).\n")
ta.inspect.show(loss, {"w": W, "b": B})
loss.backward()


def hand_f(w: float, b: float) -> float:
    return (math.tanh(w * x + b) - t) ** 2


h = 1e-5
slope_w = (hand_f(w + h, b) - hand_f(w - h, b)) / (2 * h)
slope_b = (hand_f(w, b + h) - hand_f(w, b - h)) / (2 * h)
print(f"\n   {'':8}{'by hand':>18}{'by the tape':>18}{'(f(+h) - f(-h)) / 2h, h = 1e-5':>36}")
print(f"   df/dw   {df_dw:>+18.12f}{W.grad.item():>+18.12f}{slope_w:>+36.12f}")
print(f"   df/db   {df_db:>+18.12f}{B.grad.item():>+18.12f}{slope_b:>+36.12f}")

print("\n4. WHY THE ORDER MATTERS: b = a + a; c = b + b, so c = 4a and the gradient is 4\n")
a = leaf(1.0)
b2 = a + a
c = b2 + b2
ta.inspect.show(c, {"a": a})
c.backward()
print("\n   b is used twice, so it must wait for the SUM of both uses, 1 + 1 = 2; then a gets 2 + 2 = 4. A sweep that")
print("   passes b's first 1 on at once, and later b's total of 2, gives a 2 + 4 = 6. Newest node first never does.")
print(f"   The engine says {a.grad.item():g}.")

print(f"\n5. LEARNING: {args.epochs} steps against the gradient, w <- w - 0.2 df/dw, b <- b - 0.2 df/db")
for epoch in range(args.epochs + 1):
    loss = loss_of(W, B)
    if epoch % 5 == 0 or epoch == args.epochs:
        print(f"   step {epoch:3d}   f = {loss.item():.9f}   w = {W.item():+.6f}   b = {B.item():+.6f}")
    slope_W, slope_B = ta.grad(loss, [W, B])
    W, B = leaf(W.item() - 0.2 * slope_W.item()), leaf(B.item() - 0.2 * slope_B.item())

print("\n6. STEP BY STEP: the tape of 3 as a page, each gradient as a sum of products")
W, B = leaf(w), leaf(b)
page = ta.inspect.step(loss_of(W, B), {"w": W, "b": B}, args.page, title="One neuron: f(w, b) = (tanh(w x + b) - t)^2")
arrives, slope, leaves = page.data["nodes"][0]["focus"][0]["uses"][0]["top"][0][1:]
print(f"   w: {arrives:+.6f} arrives * the local slope {slope} = {leaves:+.6f} leaves")
print(
    f"   {'written to ' + args.page if args.page else 'add --page step.html to write it, and open that in a browser'}"
)
