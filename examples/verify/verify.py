#!/usr/bin/env python3
"""Checks exported ledgers and receipts, written from docs/ledger-format.md alone.

    verify.py [--roster roster.json] [--witnessed FILE]... [--cosigned-by N | --alone] FILE ...

Each file is a ledger's export or a receipt.json; --witnessed takes what a witness holds, --cosigned-by how many partners must have
cosigned all that was computed or released. Needs Python 3.10 and the package `cryptography`; shares no code with what wrote the
files. Prints a line a file; exit code 0 if all are as they should be, 1 if not, or if nothing outside of a node supports its ledger, with
which --alone is content.
"""

import argparse
import base64
import datetime
import hashlib
import json
import math
import re
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STUDY_STATES = {"RESERVED", "COMPUTED", "RELEASED", "REPEATED", "REFUSED"}


class Wrong(Exception):
    """What is not as it should be."""


class NotWitnessed(Exception):
    """A ledger that nothing outside of its node supports."""


def need(condition, words):
    if not condition:
        raise Wrong(words)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def labelled(label, *message):
    """SHA-256 of label and message, each with its length before it: eight bytes, little-endian."""
    parts = [label.encode(), *message]
    return sha256(*(struct.pack("<Q", len(part)) + part for part in parts))


def signed(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


def whole(text, what):
    """A number as ledgers write it: decimal digits without a sign or a leading zero."""
    need(isinstance(text, str) and re.fullmatch(r"0|[1-9][0-9]{0,38}", text, re.ASCII), f"{what} is no number")
    return int(text)


def is_day(text):
    try:
        return isinstance(text, str) and datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def hexadecimal(text, length):
    need(isinstance(text, str) and re.fullmatch(r"[0-9a-f]{%d}" % (2 * length), text, re.ASCII), "a hash or key is not hexadecimal")
    return bytes.fromhex(text)


# Notes of transparency logs.


def decode64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong("a note has a line that is no base64") from error
    need(base64.b64encode(raw).decode() == text, "a note has base64 of another form")
    return raw


def read_note(note):
    text, gap, signatures = note.partition("\n\n")
    need(gap and signatures.endswith("\n"), "a note has no signatures")
    lines = []
    for line in signatures[:-1].split("\n"):
        match = re.fullmatch(r"— ([^\s+]+) (\S+)", line)
        need(match, "a note has a line of another form")
        raw = decode64(match[2])
        need(len(raw) > 4, "a note has a short signature")
        lines.append((match[1], raw[:4], raw[4:]))
    return text + "\n", lines


def key_id(name, algorithm, key):
    return sha256(name.encode(), b"\n", bytes([algorithm]), key)[:4]


def account_of(entry):
    """Whose account something is about: a population's, or, in ledgers from before there were any, a data set's own."""
    if "year" in entry:
        match = re.fullmatch(r"(\S+):[0-9]{4}", entry["year"])
        need(match and account_of({"population": match[1]}), "a year cannot be called so")
        return ("year", entry["year"])
    if "population" in entry:
        name = entry["population"]
        controls = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
        need(re.fullmatch(r"\S+", name) and not controls and len(name.encode()) <= 300, "a population cannot be called so")
        return ("population", name)
    need(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", entry["dataset"], re.ASCII), "a data set cannot be called so")
    return ("dataset", entry["dataset"])


class Checkpoint:
    def __init__(self, note, origin, key):
        self.text, self.lines = read_note(note)
        lines = self.text.split("\n")[:-1]
        need(len(lines) >= 5, "a checkpoint is too short")
        need(lines[0] == origin, "a checkpoint is of another log")
        self.size, self.root = whole(lines[1], "a checkpoint's size"), decode64(lines[2])
        need(lines[3].startswith("head ") and lines[4] == "version 4", "a checkpoint has another form")
        self.head = hexadecimal(lines[3][5:], 32)
        self.accounts, self.away = {}, {}
        for line in lines[5:]:
            absence = re.fullmatch(r"away ([a-z][a-z0-9_-]*) until (\S+)", line, re.ASCII)
            if absence:
                need(is_day(absence[2]), "a checkpoint has a line of another form")
                self.away[absence[1]] = absence[2]
                continue
            need(not self.away, "a checkpoint's lines are not in order")
            match = re.fullmatch(r"(dataset|population|year) (\S+) spent (\d+) person (\d+) cap (\d+)", line)
            need(match, "a checkpoint has a line of another form")
            self.accounts[account_of({match[1]: match[2]})] = tuple(whole(match[i], "a sum") for i in (3, 4, 5))
        need(list(self.accounts) == sorted(self.accounts), "a checkpoint's accounts are not in order")
        need(list(self.away) == sorted(self.away), "a checkpoint's absences are not in order")
        name, identifier, signature = self.lines[0]
        if key is None:
            return
        need(name == origin and identifier == key_id(origin, 1, key), "a checkpoint is not signed by the node")
        need(signed(key, self.text.encode(), signature), "a checkpoint's signature does not verify")

    def cosignatures(self, roster):
        """Those of whom the roster has a key: name, key, and whether it verifies."""
        coordinator = f"entente/{roster['authority']}"
        for name, identifier, raw in self.lines[1:]:
            if name == coordinator:
                key = roster["coordinator"]
            elif name.startswith(coordinator + "/") and name[len(coordinator) + 1 :] in roster["members"]:
                key = roster["members"][name[len(coordinator) + 1 :]]["identity"]
            else:
                continue
            key = hexadecimal(key, 32)
            good = identifier == key_id(name, 4, key) and len(raw) == 72
            if good:
                text = f"cosignature/v1\ntime {struct.unpack('>Q', raw[:8])[0]}\n{self.text}"
                good = signed(key, text.encode(), raw[8:])
            yield name, key, good


class Tree:
    """RFC 6962: the root over leaves, appended one by one."""

    def __init__(self):
        self.peaks = []

    def push(self, leaf):
        self.peaks.append((1, leaf))
        while len(self.peaks) > 1 and self.peaks[-1][0] == self.peaks[-2][0]:
            (size, right), (_, left) = self.peaks.pop(), self.peaks.pop()
            self.peaks.append((2 * size, sha256(b"\1", left, right)))

    def root(self):
        if not self.peaks:
            return sha256(b"")
        root = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            root = sha256(b"\1", left, root)
        return root


# Accounting.


def epsilon(micro, delta):
    """The tight epsilon of rho-zCDP: the least over alpha of Canonne, Kamath, Steinke 2020, Proposition 12."""
    if micro == 0:
        return 0.0
    if not 0.0 < delta < 1.0:
        return 0.0
    rho, log = micro * 1e-6, -math.log(delta)

    def bound(t):
        alpha = 1.0 + t
        return alpha * rho + (log - math.log(t) + alpha * math.log1p(-1.0 / alpha)) / t

    # By golden sections over ln t; the bound falls, then grows.
    low, high, ratio = math.log(1e-9), math.log(math.sqrt(log / rho) + 1.0), (math.sqrt(5.0) - 1.0) / 2.0
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = bound(math.exp(a)), bound(math.exp(b))
    for _ in range(200):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = bound(math.exp(a))
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = bound(math.exp(b))
    return max(0.0, min(at_a, at_b))


def near(stated, computed, what):
    need(isinstance(stated, (int, float)) and abs(stated - computed) <= 1e-6 * computed, f"{what} is {computed}, not {stated}")


def check_privacy(privacy):
    n, t = privacy["participants"], privacy["colluders"]
    need(n >= 1 and 0 <= t < n and (n == 1 or t >= 1), "the number of colluders")
    k = {"customer": 1, "person": n}[privacy["scope"]]
    rho = 0
    for noise in privacy["noise"]:
        square, sigma = whole(noise["sensitivity_squared"], "a sensitivity"), whole(noise["sigma"], "a deviation")
        need(sigma >= 4, "there is less noise than any release has")
        rho += square * k * k * 10**6 // (2 * (n - t) * sigma * sigma) + 1
    person = rho * n * n if privacy["scope"] == "customer" else rho
    need(privacy["noise"] and whole(privacy["rho"], "rho") == rho, "its rho does not follow from its noise")
    need(whole(privacy["rho_person"], "rho") == person, "its rho of a person does not follow")
    near(privacy["epsilon"], epsilon(rho, privacy["delta"]), "its epsilon")
    return rho, person


# Ledgers.


def proposal(study, requester):
    """What a decision on a study is about."""
    basis = study["legal_basis"]
    texts = [study["id"], study["name"], study["purpose"], "\0" if basis is None else "\1", basis or "", requester]
    return labelled("entente proposal 1", *(text.encode() for text in texts), hexadecimal(study["terms_sha256"], 32)).hex()


def check_requester(entry, roster):
    """A study that is not the operator's is signed by the partner that asked for it."""
    requester, petition = entry["requester"], entry.get("petition")
    if petition is None:
        need(requester == "operator", f"{requester} has not signed that it asks for it")
    elif roster and requester in roster["members"]:
        texts = [text.encode() for text in (entry["study"]["id"], requester)]
        texts = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
        time, study = petition["time"].to_bytes(8, "little", signed=True), hexadecimal(petition["study_sha256"], 32)
        message = hexadecimal(roster["authority"], 32) + texts + time + study
        key, signature = hexadecimal(roster["members"][requester]["identity"], 32), hexadecimal(petition["signature"], 64)
        good = signed(key, labelled("entente petition 1", message), signature)
        need(requester != "operator" and good, f"{requester} has not signed that it asks for it")


class Ledger:
    def __init__(self, roster):
        self.roster = roster
        self.sums, self.releases, self.paused, self.proposals, self.taken_over = {}, {}, {}, {}, []
        # What was taken over of ledgers under earlier identities of the name.
        self.inherited = {}
        # What was carried over from data sets' own accounts.
        self.carried = {}
        # Event columns by data set, and the years in which accounts had an allowance.
        self.events, self.allowances = {}, set()
        # The rules that hold, what was last said of each data set, and who was ever said to be its customers, by which column.
        self.rules, self.datasets, self.units = None, {}, set()
        # The last entry by which something was computed or released, its study, and the last one of another study before that.
        self.answered, self.answered_study, self.answered_before = 0, None, 0
        # Until when witnesses are away, the latest day of an entry, and who went on without whom, in words.
        self.gone, self.day, self.absences = {}, "", []

    def take(self, number, entry, header):
        state = entry["state"]
        need(entry["sequence"] == number, "it has another number")
        away = [{"partner": partner, "until": until} for partner, until in self.who_is_away(entry["time"]).items()]
        need(entry.get("away", []) == away, "it does not say which witnesses are away")
        if state in STUDY_STATES:
            self.study(state, entry)
        elif state == "CAP":
            self.cap(entry)
        elif state == "RULES":
            self.follow(entry)
        elif state == "CARRIED":
            self.carry(entry)
        elif state == "PROPOSED":
            self.proposals = {n: p for n, p in self.proposals.items() if p["action"] != entry["action"]}
            self.proposals[number] = entry
        elif state in ("PAUSED", "RESUMED"):
            subject = json.dumps(entry["subject"], sort_keys=True)
            need(entry["officer"] and (subject in self.paused) == (state == "RESUMED"), "what it pauses is paused, or the other way round")
            self.paused.pop(subject, None)
            if state == "PAUSED":
                self.paused[subject] = entry
        elif state == "NOTE":
            need(1 <= entry["about"] < number and entry["officer"], "it is about no entry before it")
        elif state == "RECOVERED":
            self.recovered(entry, header)
        elif state == "AWAY":
            self.away(entry)
        else:
            raise Wrong(f"the state {state} is not known")
        if is_day(entry["time"][:10]):
            self.day = max(self.day, entry["time"][:10])

    def study(self, state, entry):
        asked = entry["study"]
        need(asked["proposal_sha256"] == proposal(asked, entry["requester"]), "what was decided on is not the study that it names")
        if state != "REFUSED":
            check_requester(entry, self.roster)
        account, dataset = entry["account"], entry["dataset"]
        # A refusal may name a data set that there is not.
        key = account_of(entry) if state != "REFUSED" or "population" in entry else ("dataset", dataset)
        spent, person, cap = self.sums.get(key, (0, 0, None))
        charge = whole(account["charge"], "a charge")
        need(whole(account["spent_before"], "a sum") == spent, "its sum before is another")
        need(whole(account["spent_after"], "a sum") == spent + charge, "its sum after is another")
        near(account["epsilon_before"], epsilon(spent, account["delta"]), "its epsilon before")
        near(account["epsilon_after"], epsilon(spent + charge, account["delta"]), "its epsilon after")
        cost = check_privacy(entry["privacy"]) if entry["privacy"] else (0, 0)
        by_year = entry.get("by_year")
        years = by_year["accounts"] if by_year else []
        need(state == "RESERVED" or not by_year, "it charges years, and its state does not charge")
        own = cost if state == "RESERVED" and not years else (0, 0)
        need(charge == own[0], "its charge is not that of its state")
        person += own[1]
        need(whole(account["spent_person_after"], "a sum") == person, "its sum of a person is another")
        if state == "RESERVED":
            self.has_population(key)
            self.is_ruled(entry)
            need(cap is not None and whole(account["cap"], "a cap") <= cap, "its cap is above the recorded one")
            need(spent + charge <= whole(account["cap"], "a cap"), "it spends more than the cap")
            self.by_year(entry, by_year, years, spent + charge, cost, cap)
        if state in ("RESERVED", "REPEATED"):
            for subject in ({"dataset": dataset}, {"kind": entry["study"]["kind"]}):
                need(json.dumps(subject, sort_keys=True) not in self.paused, "an officer had paused it")
        before, release = self.releases.get(entry["release"]), entry["release"]
        follows = {
            "RESERVED": release is not None and before is None,
            "COMPUTED": before == ("RESERVED", dataset),
            "RELEASED": before == ("COMPUTED", dataset),
            "REPEATED": before in (("COMPUTED", dataset), ("RELEASED", dataset)),
            "REFUSED": release is None,
        }
        need(follows[state], "its state does not follow")
        if state in ("RESERVED", "COMPUTED", "RELEASED"):
            self.releases[release] = (state, dataset)
        if state in ("COMPUTED", "RELEASED"):
            if asked["id"] != self.answered_study:
                self.answered_study, self.answered_before = asked["id"], self.answered
            self.answered = entry["sequence"]
        if key in self.sums:
            self.sums[key] = (spent + charge, person, cap)
        for year in years:
            fields = ("spent_after", "spent_person_after", "cap")
            self.sums[self.year(entry, year["year"])] = tuple(whole(year[field], "a sum") for field in fields)

    def year(self, entry, year):
        need(isinstance(year, int) and 0 <= year <= 9999, "a year cannot be called so")
        return ("year", f"{entry['population']}:{year:04}")

    def by_year(self, entry, by_year, years, all_time, cost, cap):
        """What is charged to single years is within the cap of each; what is charged to all time, within that of every year."""
        delta, of_population = entry["account"]["delta"], f"{entry.get('population')}:"
        known = {key: sums for key, sums in self.sums.items() if key[0] == "year" and key[1][:-4] == of_population}
        if by_year:
            need("population" in entry, "it is charged by year and has no population")
            need(self.events.setdefault(entry["dataset"], by_year["event"]) == by_year["event"], "the event column was another before")
            spent = self.sums[account_of(entry)][0] + sum(sums[0] for sums in known.values()) + cost[0] * max(1, len(years))
            need(whole(by_year["spent_all_time"], "a sum") == spent, "its sum over all time is another")
            near(by_year["epsilon_all_time"], epsilon(spent, delta), "its epsilon over all time")
            numbers = [year["year"] for year in years]
            need(numbers == sorted(set(numbers)), "its years are not in order")
        for year in years:
            before, person, _ = self.sums.get(self.year(entry, year["year"]), (0, 0, None))
            expected = [cost[0], before, before + cost[0], person + cost[1]]
            fields = ("charge", "spent_before", "spent_after", "spent_person_after")
            need([whole(year[field], field) for field in fields] == expected, "its sums of a year are others")
            near(year["epsilon_before"], epsilon(before, year["delta"]), "its epsilon of a year before")
            near(year["epsilon_after"], epsilon(before + cost[0], year["delta"]), "its epsilon of a year after")
            own = whole(year["cap"], "a cap")
            need(all_time + before + cost[0] <= own <= cap, "it spends more than the cap of a year")
        if not years:
            within = all(all_time + sums[0] <= whole(entry["account"]["cap"], "a cap") for sums in known.values())
            need(within, "it is charged to all time, and spends more than the cap of a year")

    def has_population(self, key):
        """With populations, nothing new is of a data set's own account: that would be a fresh budget for the same people."""
        need(key[0] == "population" or not any(kind == "population" for kind, _ in self.sums), "it names no population")

    def is_ruled(self, entry):
        """Charges to a population are as the rules say that hold."""
        if "population" not in entry:
            return
        need(self.rules is not None and entry["dataset"] in self.rules["datasets"], "no rules have its data set")
        rules, consent = self.rules["datasets"][entry["dataset"]], entry["consent"]
        need(rules["population"] == entry["population"], "its population is another than the rules say")
        need(rules["privacy_unit"] == entry["privacy"]["privacy_unit"], "its privacy unit is another than the rules say")
        most = self.rules["person"]
        # Of a person all that was spent counts, whatever the year.
        years = len((entry.get("by_year") or {"accounts": ()})["accounts"])
        of = {("population", entry["population"])} | {key for key in self.sums if key[0] == "year" and key[1][:-5] == entry["population"]}
        lost = sum(self.sums.get(key, (0, 0))[1] for key in of) + max(1, years) * whole(entry["privacy"]["rho_person"], "rho")
        need(most is None or lost <= whole(most, "rho"), "a person loses more than the rules say")
        by_year = entry.get("by_year")
        need(not by_year or by_year["event"] == rules.get("event"), "its event column is another than the rules say")
        consent = None if consent is None else hashlib.sha256(consent.encode()).hexdigest()
        need(rules["consent_sha256"] == consent, "its consent predicate is another than the rules say")

    def is_looser(self, new):
        """Whether rules admit more than those that hold."""
        old = self.rules
        if old is None:
            return False
        policy = (
            (old["approve"], new["approve"]) == ("manual", "auto")
            or not set(new["kinds"]) <= set(old["kinds"])
            or (new["own_numbers"] and not old["own_numbers"])
            or any(new[name] < old[name] for name in ("min_partners", "min_audience", "witnesses"))
            or whole(new["per_study"], "rho") > whole(old["per_study"], "rho")
        )
        now, before = (None if rules["person"] is None else whole(rules["person"], "rho") for rules in (new, old))
        policy = policy or before is not None and (now is None or now > before)
        now, before = new["min_colluders"], old["min_colluders"]
        colluders = now != before and (now is None or before is None or now < before)
        now, before = set(new["officers"]), set(old["officers"])
        officers = now != before if len(before) >= 2 else not before <= now
        return bool(policy or colluders or officers) or any(self.is_looser_of(*of) for of in new["datasets"].items())

    def is_looser_of(self, name, new):
        old = self.datasets.get(name)
        if old is None:
            return (new["population"], new["privacy_unit"]) not in self.units or new.get("event") is not None
        consents = old["consent_sha256"] is not None and new["consent_sha256"] != old["consent_sha256"]
        by_year = new.get("event") is not None and new["event"] != old.get("event")
        return consents or by_year or any(new[field] != old[field] for field in ("population", "privacy_unit"))

    def confirmed(self, entry, action):
        """By two officers, or, where the rules name fewer than two, by whoever answers for the node."""
        named, officers = self.rules["officers"] if self.rules else [], entry["officers"]
        if self.rules is None or len(named) >= 2:
            self.second(entry, action)
        else:
            need(not named or set(officers) <= set(named), "the rules name other officers")
            need(len(officers) == 1 and officers[0] and entry["proposal"] is None, "somebody has to confirm it")

    def follow(self, entry):
        """Rules hold from now on. A data set of other people takes along what was spent on those before."""
        rules = entry["rules"]
        has_charged = any(sums[:2] != (0, 0) for sums in self.sums.values())
        if has_charged and self.is_looser(rules):
            self.confirmed(entry, {"rules": rules})
        else:
            need(not entry["officers"] and entry["proposal"] is None, "rules that admit no more take no officers")
        before, known = dict(self.sums), self.datasets
        moved = {(known[name]["population"], new["population"]) for name, new in rules["datasets"].items() if name in known}
        for source, target in sorted(moved):
            inherited, account = before.get(("population", source)), account_of({"population": target})
            if source == target or inherited is None:
                continue
            spent, person, cap = self.sums.get(account, (0, 0, 0))
            if account not in before:
                cap = inherited[2] if cap == 0 else min(cap, inherited[2])
            # What was spent in single years counts in all of them there.
            of = [sums for key, sums in before.items() if key[0] == "year" and key[1][:-5] == source] + [inherited]
            self.sums[account] = (spent + sum(sums[0] for sums in of), person + sum(sums[1] for sums in of), cap)
        for name, new in rules["datasets"].items():
            account_of(new)
            self.datasets[name] = new
            self.units.add((new["population"], new["privacy_unit"]))
        self.rules = rules
        self.proposals = {n: p for n, p in self.proposals.items() if "rules" not in p["action"]}

    def carry(self, entry):
        """What was spent on a data set becomes a part of what its population has spent, and its own account is closed."""
        source, target = ("dataset", entry["dataset"]), account_of(entry)
        need(source in self.sums and "population" in entry, "there is nothing to carry over")
        spent, person, cap = self.sums[source]
        done = self.carried.get(entry["dataset"])
        growth = tuple(max(0, now - before) for now, before in zip((spent, person), done or (0, 0)))
        need(done is None or growth != (0, 0), "it was carried over before")
        before = self.sums.get(target, (0, 0, None))
        expected = (before[2] or 0) if done is not None else cap if before[2] is None else min(cap, before[2])
        stated = tuple(whole(entry[field], field) for field in ("spent", "person", "cap"))
        need(stated == (*growth, expected), "its sums are not what is to be carried over")
        self.sums[target] = (before[0] + growth[0], before[1] + growth[1], expected)
        self.sums[source] = (spent, person, 0)
        self.carried[entry["dataset"]] = tuple(a + b for a, b in zip(done or (0, 0), growth))

    def second(self, entry, action):
        proposal = self.proposals.get(entry["proposal"])
        need(proposal and proposal["action"] == action, "no open proposal says so")
        officers, named = entry["officers"], self.rules["officers"] if self.rules else []
        need(not named or set(officers) <= set(named), "the rules name other officers")
        need(len(officers) == 2 and officers[0] == proposal["officer"] and officers[1] not in ("", officers[0]), "it takes two officers")

    def cap(self, entry):
        key, to = account_of(entry), whole(entry["to"], "a cap")
        need(key[0] != "year", "a year has its population's cap")
        self.has_population(key)
        spent, person, cap = self.sums.get(key, (0, 0, None))
        need((None if entry["from"] is None else whole(entry["from"], "a cap")) == cap, "the cap before is another")
        year = entry.get("for_year")
        if year is not None:
            need(cap is not None and to > cap, "an allowance adds nothing")
            need(entry["time"][:5] == f"{year:04}-", "it is an allowance for another year than it is recorded in")
            need((key, year) not in self.allowances, "the year had its allowance before")
            self.second(entry, {"allow": {key[0]: key[1], "for_year": year, "rho": str(to - cap)}})
            self.allowances.add((key, year))
        elif cap is not None and to > cap:
            self.second(entry, {"cap": {key[0]: key[1], "to": entry["to"]}})
        else:
            need(entry["proposal"] is None and len(entry["officers"]) <= 1, "a cap that is not raised takes no proposal")
        self.sums[key] = (spent, person, to)
        about = lambda action: action.get("cap", action.get("allow", {}))
        self.proposals = {n: p for n, p in self.proposals.items() if about(p["action"]).get(key[0]) != key[1]}

    def who_is_away(self, time):
        today = max(self.day, time[:10] if is_day(time[:10]) else "")
        return {partner: until for partner, until in sorted(self.gone.items()) if until > today}

    def away(self, entry):
        partner, until, officers, steward = (entry[field] for field in ("partner", "until", "officers", "steward"))
        need(re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", partner, re.ASCII) and is_day(until), "no partner is called so, or it is no day")
        today = max(self.day, entry["time"][:10] if is_day(entry["time"][:10]) else "")
        known = max(self.gone.get(partner, ""), today)
        by = steward if steward is not None else " and ".join(officers)
        if until <= known:
            alone = len(officers) + (steward is not None) == 1 and entry["proposal"] is None
            need(alone and known > today, "one officer says that a witness is back, and of one that is away")
        else:
            self.absences.append(f"{partner} until {until} by {by} (entry {entry['sequence']})")
            if steward is None:
                self.second(entry, {"away": {"partner": partner, "until": until}})
            else:
                need(steward != "" and officers == [] and entry["proposal"] is None, "a steward says so alone")
        self.gone[partner] = until
        self.proposals = {n: p for n, p in self.proposals.items() if p["action"].get("away", {}).get("partner") != partner}

    def recovered(self, entry, header):
        notes = [seen["checkpoint"] for seen in entry["witnessed"]]
        need(notes, "it takes over nothing")
        earlier = [seen.get("identity") for seen in entry["witnessed"]]
        (self.confirmed if all(earlier) else self.second)(entry, {"recover": notes})
        # By account: the smallest cap, and the largest sums by whose they are, this node's own as None.
        seen = {}
        for note, identity in zip(notes, earlier):
            checkpoint = Checkpoint(note, header["origin"], hexadecimal(identity or header["identity"], 32))
            self.taken_over.append((checkpoint.size, checkpoint.root))
            for key, sums in checkpoint.accounts.items():
                cap, by = seen.setdefault(key, (sums[2], {}))
                known = by.get(identity, (0, 0))
                by[identity] = (max(known[0], sums[0]), max(known[1], sums[1]))
                seen[key] = (min(cap, sums[2]), by)
                if key[0] == "dataset" and sums[2] == 0:
                    # It was carried over there, and is in the sums of a population.
                    done = self.carried.get(key[1], (0, 0))
                    self.carried[key[1]] = (max(done[0], sums[0]), max(done[1], sums[1]))
        need([account_of(account) for account in entry["datasets"]] == sorted(seen), "it takes over other accounts")
        for account in entry["datasets"]:
            spent, person, cap = self.sums.get(account_of(account), (0, 0, None))
            least, by = seen[account_of(account)]
            own = by.pop(None, (0, 0))
            after = [max(spent, own[0]), max(person, own[1])]
            for identity, sums in by.items():
                before = self.inherited.get((identity, account_of(account)), (0, 0))
                after = [now + max(0, of - known) for now, of, known in zip(after, sums, before)]
                self.inherited[identity, account_of(account)] = tuple(map(max, sums, before))
            sums = (*after, least if cap is None else min(cap, least))
            fields = ("spent_before", "spent_person_before", "spent_after", "spent_person_after", "cap")
            need([whole(account[field], field) for field in fields] == [spent, person, *sums], "its sums are not the larger ones")
            self.sums[account_of(account)] = sums
        self.proposals = {n: p for n, p in self.proposals.items() if "recover" not in p["action"]}


def strict(pairs):
    need(len(dict(pairs)) == len(pairs), "a key comes twice")
    return dict(pairs)


def parse(text):
    try:
        return json.loads(text, object_pairs_hook=strict)
    except ValueError as error:
        raise Wrong("a line is not JSON") from error


def read_witnessed(path):
    """What a witness holds: the notes of a file."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read().splitlines()
    values = [parse(line) for line in lines]
    need(all(isinstance(value, dict) and list(value) == ["checkpoint"] for value in values), f"{path} is not what a witness holds")
    return [value["checkpoint"] for value in values]


def check_earlier(note, roots, ledger, roster):
    """What a witness in the roster holds of an earlier identity of the node's name is taken over, if that had spent anything."""
    seen = Checkpoint(note, read_note(note)[0].split("\n")[0], None)
    goes_on = seen.size < len(roots) and roots[seen.size] == seen.root
    if roster is None or goes_on or (seen.size, seen.root) in ledger.taken_over or not any(sums[:2] != (0, 0) for sums in seen.accounts.values()):
        return
    need(not any(good for _, _, good in seen.cosignatures(roster)), "a witness holds what was spent under an earlier identity, and it is not taken over")


def check_witnesses(header, roots, ledger, checkpoints, outside):
    """Holds a whole ledger against what is outside of its node; who has cosigned it up to which entry."""
    origin, key, roster = header["origin"], hexadecimal(header["identity"], 32), outside.roster
    counted = []
    other_key = ""
    for note in outside.witnessed:
        text, lines = read_note(note)
        if text.split("\n")[0] != origin:
            continue
        try:
            seen = Checkpoint(note, origin, key)
        except Wrong:
            check_earlier(note, roots, ledger, roster)
            by = lines[1][0] if len(lines) > 1 else "a witness"
            other_key = f"{by} holds a checkpoint of {text.split(chr(10))[1]} entries of this name under another key"
            continue
        if seen.size < len(roots) and roots[seen.size] == seen.root:
            counted.append(seen)
            continue
        need((seen.size, seen.root) in ledger.taken_over, f"a witness holds a checkpoint of {seen.size} entries, from which it does not go on")
    # A roster was held against the key before.
    need(roster or not other_key, f"{other_key}, and no roster says that this ledger's key is the name's")
    up_to = {}
    for seen in counted if roster is None else counted + checkpoints:
        if roster is None:
            names = [name for name, _, _ in seen.lines[1:]]
        else:
            names = [name for name, of, good in seen.cosignatures(roster) if good and of != key]
        for name in names:
            if name != origin:
                up_to[name] = max(up_to.get(name, 0), seen.size)
    last = max(up_to.values(), default=0)
    if last == 0 or last < ledger.answered_before:
        raise NotWitnessed(f"nothing outside of the node supports what it has behind entry {last}")
    partners = [name for name, size in up_to.items() if name.count("/") == 2 and size >= ledger.answered]
    if len(partners) < outside.cosigned_by:
        raise NotWitnessed(f"{len(partners)} of {outside.cosigned_by} partners have cosigned all that was computed or released")
    return ", ".join([f"{name} up to entry {size}" for name, size in sorted(up_to.items())] + [other_key] * bool(other_key))


def check_ledger(text, outside):
    need(text.endswith("\n"), "the last line does not end")
    lines = text[:-1].split("\n")
    header, roster = parse(lines[0]), outside.roster
    form = {"format": "entente-ledger", "version": 5, "rho_unit": "1e-6"}
    need(all(header.get(name) == value for name, value in form.items()), "its format or version is not known")
    key, origin = hexadecimal(header["identity"], 32), header["origin"]
    identifier = base64.b64encode(b"\1" + key).decode()
    need(header["verifier"] == f"{origin}+{key_id(origin, 1, key).hex()}+{identifier}", "its verifier is another key")
    if roster:
        need(roster["members"].get(header["node"], {}).get("identity") == header["identity"], "the node is not in the roster")
        need(origin == f"entente/{roster['authority']}/{header['node']}", "its origin is another")
    seal = re.fullmatch(r'\{"seal":"([0-9a-f]{128})"\}', lines[-1], re.ASCII)
    need(seal, "the last line is no seal")
    sealed = "".join(line + "\n" for line in lines[:-1] if not line.startswith('{"hash"')).encode()
    need(signed(key, labelled("entente ledger export 5", sha256(sealed)), bytes.fromhex(seal[1])), "the seal does not verify")
    checkpoints, entries, sightings = {}, [], []
    for line in lines[1:-1]:
        entry = re.fullmatch(r'\{"hash":"([0-9a-f]{64})","entry":(.*)\}', line, re.ASCII)
        if entry and not checkpoints:
            entries.append(entry)
            continue
        value = parse(line)
        need(isinstance(value, dict) and list(value) in (["checkpoint"], ["sighting"]), "a line is neither an entry nor a checkpoint")
        if "sighting" in value:
            shown = value["sighting"]
            signer = hexadecimal(shown["identity"], 32) if "identity" in shown else key
            sightings.append((shown, Checkpoint(shown["checkpoint"], origin, signer)))
            continue
        checkpoint = Checkpoint(value["checkpoint"], origin, key)
        if roster:
            for name, _, good in checkpoint.cosignatures(roster):
                need(good, f"the cosignature of {name} does not verify")
        checkpoints.setdefault(checkpoint.size, []).append(checkpoint)
    need(checkpoints and max(checkpoints) == len(entries), "no checkpoint is over all entries, or entries are missing")
    tree, ledger, head, roots = Tree(), Ledger(roster), bytes(32), []
    for number in range(len(entries) + 1):
        if number:
            raw = entries[number - 1][2].encode()
            try:
                entry = parse(entries[number - 1][2])
                need(hexadecimal(entry["previous"], 32) == head, "it does not name the entry before")
                head = sha256(b"\0", raw)
                need(head.hex() == entries[number - 1][1], "its hash is another")
                ledger.take(number, entry, header)
            except (KeyError, TypeError) as error:
                raise Wrong(f"entry {number}: a field is missing or of another kind: {error}") from error
            except Wrong as wrong:
                raise Wrong(f"entry {number}: {wrong}") from wrong
            tree.push(head)
        roots.append(tree.root())
        for checkpoint in checkpoints.get(number, ()):
            need((checkpoint.root, checkpoint.head) == (roots[-1], head), f"the checkpoint over {number} entries is of others")
            need(checkpoint.accounts == ledger.sums, f"the checkpoint over {number} entries has other sums")
            need(checkpoint.away == ledger.who_is_away(""), f"the checkpoint over {number} entries says others are away")
    for sighting, seen in sightings:
        goes_on = seen.size < len(roots) and seen.root == roots[seen.size] or (seen.size, seen.root) in ledger.taken_over
        need(goes_on, f"it is in quarantine: {sighting['by']} has shown a checkpoint of {seen.size} entries, from which it does not go on")
    own = [checkpoint for of_size in checkpoints.values() for checkpoint in of_size]
    words = f"ledger of {header['node']}, {len(entries)} entries" + "".join(f", went on without {words}" for words in ledger.absences)
    return f"{words}, cosigned by {check_witnesses(header, roots, ledger, own, outside)}"


# Receipts.


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_receipt(text, roster):
    receipt = parse(text)
    need(set(receipt) == {"coordinator", "format", "nodes", "statement", "version"}, "it has other fields")
    need((receipt["format"], receipt["version"]) == ("entente-receipt", 1), "its format or version is not known")
    need(json.dumps(receipt, sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text, "it is not written as receipts are")
    statement, coordinator = receipt["statement"], receipt["coordinator"]
    subject = statement["subject"]
    identity = hexadecimal(coordinator["identity"], 32)
    if roster:
        need(roster["authority"] == subject["authority"] and roster["coordinator"] == coordinator["identity"], "the coordinator is another")
    message = labelled("entente receipt 1", canonical(statement))
    need(signed(identity, message, hexadecimal(coordinator["signature"], 64)), "the coordinator's signature does not verify")
    need([part["node"] for part in receipt["nodes"]] == subject["participants"], "not all participants have signed it")
    away = []
    for part in receipt["nodes"]:
        name, key = part["node"], hexadecimal(part["identity"], 32)
        if roster:
            need(roster["members"].get(name, {}).get("identity") == part["identity"], f"{name} is not in the roster")
        own = {field: part[field] for field in ("after", "before", "node")} | {"statement_sha256": sha256(canonical(statement)).hex()}
        message = labelled("entente receipt part 1", canonical(own))
        need(signed(key, message, hexadecimal(part["signature"], 64)), f"the signature of {name} does not verify")
        origin = f"entente/{subject['authority']}/{name}"
        before, after = (Checkpoint(part[field], origin, key) for field in ("before", "after"))
        need(before.size <= after.size, f"the ledger of {name} is shorter after than before")
        for account, (spent, person, _) in before.accounts.items():
            now = after.accounts.get(account, (-1, -1, 0))
            need(now[0] >= spent and now[1] >= person, f"the ledger of {name} has spent less")
        for partner, until in (before.away | after.away).items():
            away.append(f", {name} without its witness {partner}, away until {until}")
    rounds = [part["round"] for part in subject["rounds"]]
    need(rounds and rounds == list(range(1, len(rounds) + 1)), "rounds are missing")
    return f"receipt of study {subject['study']}, signed by {', '.join(subject['participants'])}{''.join(away)}"


def check(path, outside):
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        return check_receipt(text, outside.roster) if text.startswith("{\n") else check_ledger(text, outside)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, UnicodeError) as error:
        raise Wrong(f"a field is missing or of another kind: {error!r}") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roster")
    parser.add_argument("--witnessed", action="append", default=[])
    parser.add_argument("--cosigned-by", type=int, default=0)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("files", nargs="+", metavar="FILE")
    asked = parser.parse_args()
    if asked.cosigned_by and (asked.alone or not asked.roster):
        parser.error("--cosigned-by needs --roster, and is not for --alone")
    if asked.roster:
        with open(asked.roster, encoding="utf-8") as file:
            asked.roster = json.load(file)
    asked.witnessed = [note for path in asked.witnessed for note in read_witnessed(path)]
    good = True
    for path in asked.files:
        try:
            print(f"ok      {path}: {check(path, asked)}")
        except NotWitnessed as alone:
            good = good and asked.alone
            print(f"not witnessed  {path}: {alone}")
        except (Wrong, OSError, UnicodeDecodeError) as wrong:
            good = False
            print(f"FAILED  {path}: {wrong}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
