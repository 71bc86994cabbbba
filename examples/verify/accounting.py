#!/usr/bin/env python3
"""Compares epsilons with those of Google's dp-accounting.

    accounting.py CASES.csv

Each line of the file is micro-rho, delta, epsilon. dp-accounting converts the Rényi divergences of a Gaussian mechanism with that rho,
order by order, so its epsilon is never below the best over all orders, and near it where orders are dense. By its privacy loss
distributions the same mechanism, which is rho-zCDP, has an epsilon that is never above what rho-zCDP alone allows.
"""

import csv
import math
import sys

from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from dp_accounting.rdp import rdp_privacy_accountant

ORDERS = [1.0 + 10.0 ** (i / 400.0) for i in range(-1600, 2001)]


def main(path):
    with open(path, encoding="utf-8") as file:
        cases = [(int(micro), float(delta), float(epsilon)) for micro, delta, epsilon in csv.reader(file)]
    for micro, delta, epsilon in cases:
        noise = 1.0 / math.sqrt(2.0 * micro * 1e-6)
        event = dp_event.GaussianDpEvent(noise)
        renyi = rdp_privacy_accountant.RdpAccountant(ORDERS).compose(event).get_epsilon(delta)
        tight = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-4).compose(event).get_epsilon(delta)
        print(f"rho = {micro * 1e-6:g}, delta = {delta:g}: {epsilon:.6f}, by Renyi divergences {renyi:.6f}, by losses {tight:.6f}")
        if not (epsilon <= renyi * (1 + 1e-9) + 1e-9 and renyi <= epsilon * (1 + 1e-3) + 1e-9 and tight <= epsilon * (1 + 1e-3) + 1e-3):
            print("FAILED: they differ")
            return 1
    print(f"{len(cases)} cases agree")
    return 0 if cases else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
