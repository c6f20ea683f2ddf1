"""`auricle say-it`: how Auricle thinks a phrase is spoken, and the user's own pronunciations."""

import argparse

from auricle.configs.loader import add_config_arguments, load_from_arguments

HELP = "show how a phrase is spoken, or say how a word is"
DESCRIPTION = """\
Shows the phones (ARPAbet) of every word of a phrase and where they come from: your own lexicon, the
dictionary, a word of it and an ending, or a guess from the letters. A guess is often wrong: say it better
with --add, which writes to your lexicon (auricle/lexicon.txt in $XDG_CONFIG_HOME, or acoustic.lexicon). The
daemon reads it when it starts, and on SIGHUP.

  auricle say-it "hey auricle"
  auricle say-it --add "nabu N AA B UW"     a word and its phones; several times for several ways
"""
PHONES_HELP = (
    "AA odd  AE at  AH hut  AO ought  AW cow  AY hide  B be  CH cheese  D dee  DH thee  EH Ed  ER hurt  "
    "EY ate  F fee  G green  HH he  IH it  IY eat  JH gee  K key  L lee  M me  N knee  NG ping  OW oat  "
    "OY toy  P pee  R read  S sea  SH she  T tea  TH theta  UH hood  UW two  V vee  W we  Y yield  Z zee  "
    "ZH seizure"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("words", nargs="*", metavar="PHRASE", help="any words")
    parser.add_argument(
        "--add", action="append", default=[], metavar='"WORD PH PH"', help="write a pronunciation of your own"
    )
    parser.add_argument("--phones", action="store_true", help="list the phones, each with a word")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Adds what is to be added, then shows the phrase."""
    from auricle.configs.errors import ConfigError
    from auricle.configs.paths import user_lexicon
    from auricle.models.lexicon import Lexicon, add_pronunciation, normalise

    settings = load_from_arguments(args)
    phrase = " ".join(args.words).strip()
    if not phrase and not args.add and not args.phones:
        raise ConfigError('expected a phrase, such as auricle say-it "hey auricle", or --add')
    path = user_lexicon(settings.acoustic.lexicon)
    if args.phones:
        print(PHONES_HELP.replace("  ", "\n"), end="\n\n" if phrase else "\n")
    for entry in args.add:
        print(f"{path}: {add_pronunciation(path, entry)}")
    if not phrase:
        return 0
    lexicon = Lexicon.of_user(settings.acoustic.lexicon)
    words = normalise(phrase)
    if not words:
        raise ConfigError(f"nothing to say in {phrase!r}: expected words, such as 'hey auricle'")
    width = max(map(len, words), default=0)
    for word in words:
        source = lexicon.source(word)
        for number, phones in enumerate(lexicon.spoken(word)):
            print(f"{'' if number else word:<{width}}  {' '.join(phones):<40}  {source}")
    guessed = [word for word in words if lexicon.source(word) == "guessed from the letters"]
    if guessed:
        print(
            f'\nIf a guess is wrong: auricle say-it --add "{guessed[0]} PH PH ..."; --phones lists the phones'
        )
    return 0
