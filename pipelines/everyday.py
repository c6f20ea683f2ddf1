"""Sentences that people say to a device or to each other, written for the language model.

In a template `(turn|switch) on the {thing}` stands for all its readings; alternatives are not nested.
"""

import re
from itertools import product

LISTS = {
    "thing": "light|lights|lamp|fan|heater|heating|television|radio|music|oven|kettle|coffee machine|alarm|"
    "air conditioner|camera|printer|speaker|vacuum cleaner|washing machine|dishwasher|computer|projector",
    "room": "kitchen|living room|bedroom|bathroom|hall|hallway|office|garage|garden|basement|attic|"
    "dining room|nursery|study|porch|guest room",
    "opening": "door|front door|back door|window|windows|blinds|curtains|shutters|gate|garage door",
    "colour": "red|green|blue|yellow|white|orange|purple|pink|warm white",
    "number": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|eighteen|twenty|"
    "twenty one|twenty five|thirty|forty|forty five|fifty|sixty|seventy|eighty|ninety|one hundred",
    "unit": "seconds|minutes|hours",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|tomorrow|tonight|this evening|"
    "next week|this weekend",
    "hour": "six|seven|eight|nine|ten|half past six|half past seven|quarter past eight|noon|midnight|"
    "seven thirty|six fifteen|eight o'clock|five o'clock",
    "person": "mom|dad|my wife|my husband|my mother|my brother|my sister|the doctor|the office|anna|john|"
    "mary|peter|sarah|michael|david",
    "food": "milk|bread|butter|eggs|cheese|coffee|tea|sugar|rice|pasta|tomatoes|potatoes|apples|bananas|"
    "onions|chicken|toilet paper|dish soap",
    "music": "jazz|rock|classical music|some music|the news|my playlist|a podcast|an audio book|"
    "the next song|the last song|something quiet",
}
TEMPLATES = """
(please|) (turn|switch) (on|off) the {thing}
(turn|switch) the {thing} (on|off) (please|)
(turn|switch) (on|off) the {thing} in the {room}
(turn|switch) (on|off) the {room} (light|lights|lamp|fan|heating)
(dim|brighten) the {room} (light|lights)
dim the {room} lights to {number} percent
set the {room} (light|lights) to {number} percent
set the {room} (light|lights) to {colour}
make the {room} (brighter|darker|warmer|cooler)
(open|close|lock|unlock) the {opening}
(open|close) the {opening} in the {room}
is the {opening} (open|closed|locked)
set the temperature to {number} degrees
set the temperature in the {room} to {number} degrees
what is the temperature in the {room}
(how warm|how cold) is it (outside|inside|in here)
set (a|the) timer for {number} {unit}
set a {number} minute timer
cancel the (timer|alarm)
how much time is left (on the timer|)
set (an|the) alarm for {hour} (in the morning|tomorrow|)
wake me (up|) at {hour} (tomorrow|)
remind me to (buy|get|order) {food} {day}
remind me to call {person} (at|around) {hour}
remind me to (take out the trash|water the plants|feed the cat|pay the bill) {day}
(add|put) {food} (to|on) (the|my) shopping list
(remove|take) {food} (from|off) (the|my) shopping list
what is on (the|my) (shopping list|calendar) (today|tomorrow|)
(call|text|message) {person} (now|please|)
tell {person} (i am on my way|i will be late|dinner is ready)
play {music} (in the living room|in the kitchen|)
(stop|pause|resume) the (music|radio|video|movie)
turn (the volume|it|the music) (up|down)
set the volume to {number} (percent|)
(skip this song|play it again|go back|next song|previous song|louder please|quieter please)
what time is it (now|in london|in new york|in tokyo|)
what is the (date|weather) (today|)
what is the weather like {day}
will it (rain|snow|be cold|be warm|be sunny) {day}
do i need (an umbrella|a coat|a jacket) {day}
(start|stop) the (vacuum cleaner|dishwasher|washing machine)
are there any (messages|new emails|appointments) (for me|today|)
(read|show) me (the news|my messages|my email)
how do i get to (the airport|the station|work|the nearest hospital)
how long does it take to get (home|to work|to the airport)
good (morning|night|evening|afternoon) (everyone|)
(thank you|thanks) (very much|)
(yes|no) (please|thank you|thanks)
(hello|hi|hey) (there|how are you)
(never mind|forget it|cancel that|stop that|that is all|that is right|that is wrong)
what (can|do) you (do|hear|think)
(who is at the door|who called me|who left the door open)
where (are my keys|is my phone|did i park the car)
(i am|i'm) (home|leaving|back|going to bed|going out)
(can|could|would) you (help me|say that again|speak louder|speak up|wait a minute)
i (would like|want|need) (a cup of|some) {food}
i (would like|want|need) to (watch television|listen to music|go to sleep)
(the computer|the internet|the phone|the website|the app) (is not working|does not work|is very slow)
(send|write) an email to {person}
open the (website|app|browser|file|calendar|map)
(take|show me) a (picture|photo|video)
the meeting (is|starts) at {hour} {day}
""".strip().splitlines()
PART = re.compile(r"\(([^()]*)\)|\{(\w+)\}|([^(){}]+)")
MOST = 1000
"""Readings of one template at most, evenly chosen."""


def readings(template: str) -> list[list[str]]:
    """The sentences of a template as words; an even choice of them if there are many."""
    parts = [
        (LISTS[name] if name else words or choice).split("|")
        for choice, name, words in PART.findall(template)
    ]
    sentences = [" ".join(chosen).split() for chosen in product(*parts)]
    return sentences[:: -(-len(sentences) // MOST)]


def everyday_sentences() -> list[list[str]]:
    """All sentences of all templates."""
    return [sentence for template in TEMPLATES for sentence in readings(template)]
