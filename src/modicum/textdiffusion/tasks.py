"""What the comparison learns: past tenses of English verbs, or pronunciations from CMUdict; letters are tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modicum.core import catalogue
from modicum.core.tables import read_text
from modicum.errors import DataError
from modicum.textdiffusion.data import TextPair, read_pairs

_LETTERS = re.compile("[a-z]{3,8}")
_LONGEST = 8  # phonemes
_TEST, _VALIDATION = 5, 10  # one text in so many

# Written for this project; the spelling rules below make the past tense of all but the last ones.
_VERBS = """
accept ache act add admire admit advise agree aid aim allow amuse annoy answer appear apply approve argue arm arrange
arrest arrive ask attach attack attend avoid award back bake balance ban bang bar bare bark base bathe beam beg behave
belong blame bless blind blink boast boil bolt bomb book bore borrow bounce bow box brake branch brush bubble bump burn
bury buzz call camp care carry carve cause change charge chase cheat check cheer chew chip choke chop claim clap
clean clear clip close coach coil collect comb command compare compete complain confess consider contain copy correct
cough count cover crack crash crawl cross crush cry cure curl curve cycle dam damage dance dare decay decide deliver
depend describe desert deserve destroy detect develop dip divide doubt drag drain dream dress drip drop drown drum dry
dust earn educate employ empty end enjoy enter escape examine excite excuse exist expand expect explain explode extend
face fade fail fancy fasten fax fear fence fetch file fill film fire fit fix flap flash float flood flow fold follow
fool force form frame frighten fry gather gaze glow glue grab grate grease greet grin grip groan guard guess guide
hammer hand handle happen harm hate haunt heal heap heat help hook hop hope hover hug hum hunt hurry identify
ignore imagine impress improve include increase inform inject injure instruct intend invent invite itch jail jam jog
join joke judge jump kick kill kiss knock knot label land last laugh launch learn level license lick lighten
like list listen live load lock long look love man manage march mark marry match mate matter melt memorise mend milk
mine miss mix moan moor mourn move mug multiply murder nail name need nest nod note notice number obey object observe
obtain occur offend offer open order owe own pack paddle paint park part pass paste pat pause peck pedal peel peep
phone pick pinch pine place plan plant play please plug point poke polish pop possess post pour practise pray preach
prefer prepare present press pretend prevent prick print produce promise protect provide pull pump punch punish push
question queue race rain raise reach realise receive record reduce reflect refuse regret reign reject rejoice relax
release rely remain remember remind remove repair repeat replace reply report request rescue retire return rhyme rinse
risk rob rock roll rot rub ruin rule rush sack sail save scare scatter scold scorch scrape scratch scream screw scrub
seal search separate serve settle shade share shave shelter ship shiver shock shop shrug sigh sign signal sin sip ski
skip slap slip slow smash smell smile smoke snatch sneeze sniff snore snow soak soothe sound spare spark spell spill
spoil spot spray sprout squash squeak squeal squeeze stain stamp stare start stay steer step stir stitch stop store
strap stretch strip stroke stuff suffer suggest suit supply support suppose surprise suspect switch talk tame tap taste
tease telephone tempt test thank thaw tick tickle tie time tip tire touch tour tow trace trade train trap travel treat
tremble trick trip trot trust try tug tumble turn twist type unite unlock use vanish visit wail wait walk wander want
warm warn wash waste watch water wave weigh welcome whine whip whirl whisper whistle wink wipe wish wobble wonder work
worry wrap wreck wrestle wriggle yawn yell zip zoom
"""
_IRREGULAR = """
begin:began bend:bent bind:bound bite:bit bleed:bled blow:blew break:broke breed:bred bring:brought build:built
buy:bought catch:caught choose:chose cling:clung come:came creep:crept cut:cut deal:dealt dig:dug draw:drew
drink:drank drive:drove
eat:ate fall:fell feed:fed feel:felt fight:fought find:found flee:fled fling:flung fly:flew forget:forgot freeze:froze
give:gave grow:grew hear:heard hide:hid hit:hit hold:held hurt:hurt keep:kept know:knew lead:led leave:left lend:lent
lose:lost make:made mean:meant meet:met pay:paid put:put read:read ride:rode ring:rang rise:rose run:ran say:said
see:saw seek:sought sell:sold send:sent shake:shook shine:shone shoot:shot shut:shut sing:sang sink:sank sit:sat
sleep:slept slide:slid speak:spoke spend:spent spin:spun spread:spread stand:stood steal:stole stick:stuck sting:stung
strike:struck swear:swore sweep:swept swim:swam swing:swung take:took teach:taught tear:tore tell:told think:thought
throw:threw wake:woke wear:wore weave:wove weep:wept win:won wind:wound write:wrote
"""
_DOUBLED = """
admit ban bar beg chip chop clap clip dam dip drag drip drop drum fit flap grab grin grip hop hug hum jam jog knot label
level man mug nod occur pat pedal plan plug pop prefer regret rob rot rub scrub ship shop shrug signal sin sip skip slap
slip spot step stir stop strap strip tap tip trap travel trip trot tug whip wrap zip
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Pairs to learn from, and sources with all of their references."""

    training: Sequence[TextPair]
    validation: Sequence[tuple[str, Sequence[str]]]
    test: Sequence[tuple[str, Sequence[str]]]


def past_tense(verb: str) -> str:
    """Spell the past tense of a regular verb."""
    if verb.endswith("e"):
        return f"{verb}d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ied"
    return f"{verb}{verb[-1] if verb in _DOUBLED.split() else ''}ed"


def verbs() -> list[TextPair]:
    """Give the small table of verbs that was written for this project."""
    irregular = {verb: form for verb, _, form in (each.partition(":") for each in _IRREGULAR.split())}
    forms = {verb: past_tense(verb) for verb in _VERBS.split()} | irregular
    return [TextPair(source=" ".join(verb), target=" ".join(form)) for verb, form in forms.items()]


def cmudict() -> list[TextPair]:
    """Read pronunciations of words of 3 to 8 letters, without stress, at most 8 phonemes long."""
    pairs: list[TextPair] = []
    for line in read_text(catalogue.fetch("cmudict") / "cmudict.dict").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        word = word.partition("(")[0]
        if _LETTERS.fullmatch(word) and len(phonemes) <= _LONGEST:
            sounds = " ".join(phoneme.rstrip("012") for phoneme in phonemes)
            pairs.append(TextPair(source=" ".join(word), target=sounds))
    return pairs


def by_source(pairs: Iterable[TextPair]) -> dict[str, list[str]]:
    """Gather the references of each source, in order and none twice."""
    found: dict[str, dict[str, None]] = {}
    for pair in pairs:
        found.setdefault(pair.source, {})[pair.target] = None
    return {source: list(targets) for source, targets in found.items()}


def split(pairs: Sequence[TextPair], *, validation: int, test: int) -> Task:
    """Hold out a fifth of the sources for the test and a tenth of the rest, by a hash: the same ones for all seeds."""
    references = by_source(pairs)
    numbers = {source: _number(source.replace(" ", "")) for source in references}
    parts: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    for source in sorted(numbers, key=lambda source: numbers[source]):
        rest, remainder = divmod(numbers[source], _TEST)
        part = "test" if remainder == 0 else "validation" if rest % _VALIDATION == 0 else "training"
        parts[part].append(source)
    if not all(parts.values()):
        raise DataError(
            f"{len(numbers)} sources are too few to hold some out for validation and test.", hint="Give at least 100."
        )
    return Task(
        training=[TextPair(source=source, target=references[source][0]) for source in parts["training"]],
        validation=[(source, references[source]) for source in parts["validation"][:validation]],
        test=[(source, references[source]) for source in parts["test"][:test]],
    )


def load(name: str, data: Path | None, *, validation: int, test: int) -> Task:
    """Give a task by its name, or the user's own pairs."""
    pairs = read_pairs(data) if data is not None else verbs() if name == "past" else cmudict()
    return split(pairs, validation=validation, test=test)


def _number(word: str) -> int:
    return int(hashlib.sha1(word.encode()).hexdigest(), 16)  # noqa: S324 - that of the catalogue's held-out slice
