"""Finds the arguments in mathematics.tsv: those whose results lie closest to the middle of two floats.

There an implementation of a function that is not correct to the last bit rounds by chance: two of them that agree
on all of these are one and the same. Of each range the closest of many random arguments are taken. Written as the
bits of `float8`, in hexadecimal.

    python3 -m pip install gmpy2 && python3 sql/catalog/hard_cases.py > sql/catalog/mathematics.tsv
"""

import random
import struct

import gmpy2
from gmpy2 import mpfr

TRIES = 200_000
KEPT = 10

# Each with the ranges of its arguments: where implementations go other ways.
ONE = {
    "exp": (gmpy2.exp, [(-700, 700), (-1, 1), (-1e-5, 1e-5), (-745, -708.5)]),
    "ln": (gmpy2.log, [(0, 1e6), (0.9, 1.1), (0.999999, 1.000001), (0, 1e-300)]),
    "log": (gmpy2.log10, [(0, 1e6), (0.9, 1.1), (0.999999, 1.000001), (0, 1e-300)]),
    "cbrt": (gmpy2.cbrt, [(-1e6, 1e6), (-1, 1), (1, 8), (0, 1e300)]),
    "sin": (gmpy2.sin, [(-1, 1), (-4, 4), (-100, 100), (-1e6, 1e6), (0, 1e15), (0, 1e300)]),
    "cos": (gmpy2.cos, [(-1, 1), (-4, 4), (-100, 100), (-1e6, 1e6), (0, 1e15), (0, 1e300)]),
    "tan": (gmpy2.tan, [(-1, 1), (-4, 4), (-100, 100), (-1e6, 1e6), (0, 1e15), (0, 1e300)]),
    "asin": (gmpy2.asin, [(-0.12, 0.12), (-0.5, 0.5), (-0.97, 0.97), (0.97, 1), (-1, -0.97)]),
    "acos": (gmpy2.acos, [(-0.12, 0.12), (-0.5, 0.5), (-0.97, 0.97), (0.97, 1), (-1, -0.97)]),
    "atan": (gmpy2.atan, [(-0.06, 0.06), (-1, 1), (-16, 16), (-1e6, 1e6)]),
}

TWO = {
    "power": (lambda x, y: x**y, [(0, 1, -50, 50), (1, 100, -100, 100), (0.999, 1.001, -1e5, 1e5), (0, 1e6, 0, 1)]),
    "atan2": (gmpy2.atan2, [(-1, 1, -1, 1), (-100, 100, -1, 1), (-1, 1, -100, 100), (-1e-3, 1e-3, -9, 9)]),
}


def distance(result):
    """How far the result is from the middle of two floats: 0 to a half, in units of the last place."""
    scaled = gmpy2.mul(abs(result), gmpy2.exp2(53 - gmpy2.get_exp(result)))
    return abs(scaled - gmpy2.floor(scaled) - mpfr("0.5"))


def bits(number):
    return struct.pack(">d", number).hex()


def hardest(function, ranges):
    found = []
    for limits in ranges:
        pairs = list(zip(limits[::2], limits[1::2]))
        tried = []
        for _ in range(TRIES):
            arguments = [random.uniform(low, high) for low, high in pairs]
            result = function(*map(mpfr, arguments))
            if gmpy2.is_finite(result) and result != 0:
                tried.append((distance(result), arguments))
        tried.sort()
        found += [arguments for _, arguments in tried[:KEPT]]
    return found


def main():
    random.seed(1)
    gmpy2.get_context().precision = 160
    for name, (function, ranges) in (ONE | TWO).items():
        for arguments in hardest(function, ranges):
            print(name, *map(bits, arguments), sep="\t")


main()
