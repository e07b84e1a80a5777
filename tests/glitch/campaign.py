"""Every fault at every instruction of ours, in each scenario: what the card then does.

What is decided twice, with a branch after each (base/hard.h): PIN and PUK (card/pin.c), the server's certificate, and
that it held when the line opens (card/line_verify.c, card/line.c), the issuer's cryptogram and MACs (proto/scp03.c), his
signed messages and their time (card/issuer.c), what a command's row wants of life, PIN, channel and line
(card/dispatch.c), whether an order may be signed (card/order.c), PIV's PIN and key 9B (card/piv_*.c), who may read
(card/objects.c). A right is kept as HARD_YES, and a record counts as it is read back (card/nvm_log.c).

test_glitch.py, Cortex-M3, -Os without LTO: 45 scenarios, each instruction the first time it is carried out, 50,336
skipped and 7,562 values returned made 0 or all ones; none turned a no into a yes. By hand (--kinds skip,value --times 2)
the first 44 scenarios: none either. Not tried: two faults, the engine's own code, the image with LTO."""

import collections
import dataclasses
import random

from card import Card
from faults import KINDS, walk
from image import Image
from machine import Crashed, Endless
from scenarios import FREE, SCENARIOS


@dataclasses.dataclass
class Result:
    scenario: str
    instructions: int = 0  # of ours, that were tried
    trials: dict = dataclasses.field(default_factory=collections.Counter)  # (kind, what came of it)
    won: list = dataclasses.field(default_factory=list)  # (kind, where, what was won)


class Campaign:
    def __init__(self, elf):
        self.image = Image(elf)
        self.card = Card(self.image)
        self.card.personalise()
        self.card.piv_keys([0x9A, 0x9C])
        self.card.machine.power()
        self.start = self.card.machine.save(0)

    def prepare(self, scenario):
        """A card before the scenario's command, and what it does without a fault."""
        machine = self.card.machine
        machine.restore(self.start)
        command = scenario.prepare(self.card)
        pc = machine.begin(command)
        state = machine.save(pc)
        self.limit, length = 4096, None
        while length is None:
            machine.restore(state)
            try:
                length = machine.run(pc, self.limit)
            except Endless:
                self.limit += self.limit // 4
        self.limit += self.limit // 4  # and half as much as it takes, at most: then, on a chip, the watchdog
        data, sw = machine.answer(length)
        if sw != scenario.sw:
            raise AssertionError(f"{scenario.name}: {sw:04X} {data.hex()} in place of {scenario.sw:04X}")
        after = machine.save(0)
        self.card.honest, self.card.stored = machine.memory(), None
        if self.verdict(scenario, after, data, sw) is not None:
            raise AssertionError(f"{scenario.name}: the card grants it without a fault")
        self.card.stored = self.card.honest
        machine.restore(state)
        return pc, (data, sw), after

    def verdict(self, scenario, after, data, sw):
        machine = self.card.machine
        kept = self.card.keys, self.card.host
        if any(secret in data for secret in self.card.secrets()):
            return "a secret"
        for granted in scenario.granted:
            won = granted(self.card, data, sw)
            machine.restore(after)
            self.card.keys, self.card.host = kept
            if won:
                return won
        return None

    def trial(self, scenario, state, fault, honest, end):
        """(what came of it, what was won)"""
        machine = self.card.machine
        machine.restore(state)
        try:
            answer = machine.answer(machine.run(fault(), self.limit))
        except Crashed:
            return "crashed", None
        except Endless:
            return "endless", None
        after = machine.save(0)
        if answer == honest and after.flash == end.flash and (
                after.ram[:machine.used] == end.ram[:machine.used]):
            return "no effect", None
        won = self.verdict(scenario, after, *answer)
        if won == FREE and self.same_with_right(scenario, state, fault, answer):
            won = None
        return "won" if won else "refused", won

    def same_with_right(self, scenario, state, fault, answer):
        """Does the same fault give the same answer to the right number? Then it told nothing."""
        machine = self.card.machine
        machine.restore(dataclasses.replace(state, ram=state.ram.replace(*scenario.numbers)))
        try:
            return machine.answer(machine.run(fault(), self.limit)) == answer
        except (Crashed, Endless):
            return False

    def run(self, scenario, kinds=KINDS, times=None, one_in=1, seed=0):
        """`times`: each instruction is tried the first so many times that it is carried out, None: every time.
        `one_in`: a sample of so much of the trials, the same for the same seed."""
        machine = self.card.machine
        result = Result(scenario.name)
        chosen = random.Random(seed)
        pc, honest, end = self.prepare(scenario)
        seen = collections.Counter()
        for point, state in walk(machine, pc, lambda address: not times or seen[address] < times):
            seen[point.instruction.address] += 1
            result.instructions += 1
            for kind, where, fault in point.faults(kinds):
                if one_in > 1 and chosen.randrange(one_in):
                    continue
                outcome, won = self.trial(scenario, state, fault, honest, end)
                if won:
                    result.won.append((kind, where, won))
                result.trials[kind, outcome] += 1
        return result


def main():
    import argparse
    import time
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("elf")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--times", type=int, help="how often an instruction is tried that comes again and again")
    parser.add_argument("--one-in", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    campaign = Campaign(arguments.elf)
    total, all_won = collections.Counter(), 0
    for scenario in SCENARIOS:
        if arguments.only not in scenario.name:
            continue
        begin = time.time()
        result = campaign.run(scenario, arguments.kinds.split(","), arguments.times, arguments.one_in)
        what = collections.Counter()
        for (kind, outcome), n in result.trials.items():
            what[outcome] += n
            total[outcome] += n
        print(f"{scenario.name}: {result.instructions} instructions, {dict(what)}, {time.time() - begin:.0f} s",
              flush=True)
        all_won += len(result.won)
        if not arguments.quiet:
            for kind, where, won in result.won:
                print(f"    {kind}: {where}: {won}")
    print(f"all: {sum(total.values())} trials, {dict(total)}")


if __name__ == "__main__":
    main()
