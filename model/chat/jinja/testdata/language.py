#!/usr/bin/env python3
"""Writes language.json: what jinja2, set up as transformers does for chat
templates, makes of expressions.txt (one a line), of statements.txt (templates
between lines of ====), of methods and filters over values of every type, and
of templates put together by chance from a fixed seed.

Needs transformers and jinja2 >= 3.1.6.
"""
import copy
import datetime
import json
import pathlib
import random
import warnings

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

warnings.simplefilter("ignore")
here = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 11, 24, 13, 5, 9)

VARS = {
    "messages": [{"role": "user", "content": "Hi <|im_end|> ß Ünï 日本 😀"}, {"role": "assistant", "content": "  yo  "},
                 {"role": "user", "content": "z"}],
    "x": 5, "f": 1.5, "s": "Hello World foo-bar", "l": [3, 1, 2], "n": None, "e": "", "t": True,
    "d": {"b": 1, "a": [1, 2], "items": "zz", "C": None}, "big": 123456789012345678901234567890, "y": "ctx",
    "users": [{"name": "Bob", "age": 3, "g": "x"}, {"name": "alice", "age": 1, "g": "Y"}, {"name": "Carl", "age": 2, "g": "X"}],
    "html": "<a href=\"x\">'&</a>", "u": "ŉ ǰ İI ΑΣ ΣΑΣ ﬁ straße", "nl": "a\nb\r\nc\n\nd", "w": "  a b  ",
    "tree": [{"n": "a", "c": [{"n": "b", "c": []}, {"n": "c", "c": [{"n": "d", "c": []}]}]}, {"n": "e", "c": []}],
}

METHODS = """upper() lower() title() capitalize() swapcase() casefold() strip() strip("Hod") lstrip("H") rstrip("o") split()
split("o") split("o",1) split(none,1) rsplit("o",1) rsplit() rsplit(none,1) splitlines() splitlines(true) find("o")
find("o",5) rfind("o") index("o") index("zz") rindex("o") count("o") startswith("He") startswith(("x","He"))
endswith("oo") startswith("W",6) replace("o","0") replace("o","0",1) replace("","-") replace("","-",3) isalpha()
isdigit() isalnum() isspace() isupper() islower() istitle() isidentifier() isascii() isprintable() isdecimal()
isnumeric() center(31) center(30,"*") ljust(20,".") rjust(20) zfill(20) expandtabs() partition("\u0020")
rpartition("\u0020") partition("zz") rpartition("zz") removeprefix("He") removesuffix("oo") join(["a","b"]) join("abc")
join([1]) append(1) foo() __class__ __class__.__mro__ format(1)""".replace('"\u0020"', '"\\x20"').split()
FILTERS = """upper lower title capitalize trim length count reverse|list first last list string int float tojson e escape
safe urlencode wordcount striptags forceescape unique|list sort join(",") join default("q") d("q",true)
replace("l","L") replace("l","L",1) indent(2,true) center(30) truncate(8) truncate(8,true) truncate(8,false,"…",0)
batch(2)|list batch(3,"-")|list slice(3)|list slice(3,"x")|list min max sum abs round tojson(indent=2)
tojson(ensure_ascii=true) xmlattr dictsort items|list map("string")|list select|list reject|list
select("string")|list filesizeformat format(1) trim("H")""".split()
VALUES = ["s", "u", "nl", "html", "x", "f", "l", "d", "n", "e", "t", "users", "missing", "big", "(3.7)", "-2.5",
          '[1,[2,"ü\\u0001\\n"]]']


class Chance:
    """Templates by chance; those that print an address or rest on a quirk of
    constant folding are left out by kept()."""

    names = "messages x f s l d n e t w zz loop i y".split()
    literals = ["1", "0", "-2", "3.5", '"a"', '"b c"', "''", "[]", "{}", "()", "none", "true", '[1,"a"]', '{"k":1}', "(1,2)", '"%s"', '"{}"']
    filters = FILTERS + ['map(attribute="role")|list', 'selectattr("role","eq","user")|list', 'groupby("role")', "round(1)"]
    tests = """defined undefined none string number mapping sequence iterable odd even true false integer float boolean
        sameas(none) lt(3) divisibleby(2) upper lower callable escaped""".split()
    methods = [".upper()", ".strip()", ".split()", ".items()", ".keys()|list", '.get("a")', ".title()", '.startswith("H")',
               '.find("o")', '.count("o")', ".index(1)", ".role", '["content"]', "[0]", "[-1]", ".a", ".zz", ".join(l)",
               ".append(1)", ".values()|list", ".format(x)", '.rsplit(" ",1)', ".capitalize()", "[x]", ".isdigit()"]
    operators = "+ - * / // % ~ == != < <= > >= and or in".split() + ["not in"]

    def __init__(self, seed):
        self.r = random.Random(seed)

    def expr(self, depth):
        r, pick = self.r.random(), self.r.choice
        if depth <= 0 or r < .2:
            return pick(self.names) if self.r.random() < .65 else pick(self.literals)
        e = self.expr
        if r < .45:
            return f"{e(depth - 1)} {pick(self.operators)} {e(depth - 1)}"
        if r < .6:
            return f"({e(depth - 1)})|{pick(self.filters)}"
        if r < .75:
            return f"({e(depth - 1)}){pick(self.methods)}"
        if r < .83:
            return f"({e(depth - 1)}) is {pick(['', 'not '])}{pick(self.tests)}"
        if r < .88:
            return f"({e(depth - 1)} if {e(depth - 1)} else {e(depth - 1)})"
        if r < .92:
            return f"not ({e(depth - 1)})"
        return f"[{e(depth - 1)}, {e(depth - 1)}]" if r < .97 else '{"q": %s, 1: %s}' % (e(depth - 1), e(depth - 1))

    def tag(self, s):
        return self.r.choice(["{%", "{%-", "{%", "{%+"]) + " " + s + " " + self.r.choice(["%}", "-%}", "%}", "%}", "+%}"])

    def body(self, depth):
        blanks = ["", " ", "\n", "  \n  ", "\t"]
        return "".join(self.r.choice(blanks) + self.stmt(depth) for _ in range(self.r.choice([1, 1, 2, 3])))

    def stmt(self, depth):
        r, pick, tag, e, body = self.r.random(), self.r.choice, self.tag, self.expr, lambda: self.body(depth - 1)
        if depth <= 0 or r < .35:
            return pick(["{{", "{{-", "{{"]) + " " + e(pick([0, 1, 1, 2])) + " " + pick(["}}", "-}}"])
        if r < .4:
            return pick(["text", "a\n", " b ", "\n\n", "{# c #}", "{#- c -#}", "{#c#}\n"])
        if r < .55:
            return (tag("if " + e(1)) + body() + (tag("elif " + e(1)) + body() if self.r.random() < .3 else "")
                    + (tag("else") + body() if self.r.random() < .4 else "") + tag("endif"))
        if r < .7:
            over = pick(["l", "messages", "d", "d.items()", "range(3)", "s", 'l|map("string")', e(1)])
            return (tag(f"for {pick(['i', 'i', 'y', 'k, v'])} in {over}{pick(['', '', '', ' if i != 1'])}") + body()
                    + pick(["", "{{ loop.index }}{{ loop.last }}", "{% break %}", "{% if loop.first %}{% continue %}{% endif %}z"])
                    + (tag("else") + body() if self.r.random() < .2 else "") + tag("endfor"))
        if r < .82:
            return tag(f"set {pick(['y', 'x', 'zz', 'i', 'a, b', 'ns.q'])} = {pick([e(1), e(2), 'namespace(q=1)'])}")
        if r < .86:
            return tag("set " + pick(["y", "zz"]) + pick(["", " | upper"])) + body() + tag("endset")
        if r < .9:
            return tag(f"macro mm(i, y={e(1)})") + body() + tag("endmacro") + "{{ mm(%s) }}" % e(1)
        if r < .92:
            return tag("with y = " + e(1)) + body() + tag("endwith")
        if r < .94:
            return tag("filter upper") + body() + tag("endfilter")
        if r < .96:
            return "{% set ns = namespace(q=1) %}"
        if r < .98:
            return ("{% macro cc(a) %}" + body() + "{{ caller(a) }}{% endmacro %}{% call(i) cc(x) %}" + body() + "{% endcall %}")
        return tag("raw") + "{{ x }}" + tag("endraw")


def kept(result):
    out = result.get("out", "")
    return " at 0x" not in out and len(out) < 2000


def render(template):
    try:
        compiled = _compile_jinja_template(template)
        compiled.globals["strftime_now"] = lambda f: NOW.strftime(f)
        return {"t": template, "out": compiled.render(**copy.deepcopy(VARS))}
    except Exception as e:
        return {"t": template, "err": type(e).__name__}


def main():
    templates = ["{{ %s }}" % e for e in (here / "expressions.txt").read_text().splitlines()]
    templates += (here / "statements.txt").read_text().split("\n====\n")
    templates += ["{{ %s.%s }}" % (v, m) for m in METHODS for v in ("s", "u", "nl", "e")]
    templates += ["{{ %s|%s }}" % (v, f) for f in FILTERS for v in VALUES]
    cases = [c for c in map(render, dict.fromkeys(templates)) if kept(c)]
    chance = Chance(7)
    made, failed = 0, 0
    while made < 600:
        c = render(chance.body(3) if made % 3 else "{{ " + chance.expr(3) + " }}")
        if not kept(c) or "err" in c and failed > 60:
            continue
        failed += "err" in c
        made += 1
        cases.append(c)
    out = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "now": NOW.isoformat() + "Z",
           "vars": VARS, "cases": cases}
    lines = json.dumps({**out, "cases": []}, ensure_ascii=False)[:-2]
    lines += "\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n"
    (here / "language.json").write_text(lines, newline="\n")


main()
