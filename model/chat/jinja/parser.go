package jinja

import (
	"fmt"
	"slices"
)

// parser turns tokens into statements; expressions are in parse_expr.go.
type parser struct {
	toks  []token
	i     int
	depth int
	loops int // enclosing for loops that break and continue may refer to
}

func (p *parser) cur() token { return p.toks[p.i] }

func (p *parser) look() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if p.i < len(p.toks)-1 {
		p.i++
	}
	return t
}

func (p *parser) skip(k kind, text string) bool {
	if p.cur().is(k, text) {
		p.next()
		return true
	}
	return false
}

// fail aborts the parse; parse recovers the error.
func (p *parser) fail(line int, format string, args ...any) {
	panic(syntax{&Error{Line: line, Err: fmt.Errorf(format, args...)}})
}

type syntax struct{ err *Error }

func (p *parser) expect(k kind, text string) token {
	t := p.cur()
	if t.kind != k || text != "" && t.text != text {
		want := token{kind: k, text: text}.describe()
		if text == "" && k == name {
			want = "a name"
		}
		p.fail(t.line, "expected %s, got %s", want, t.describe())
	}
	return p.next()
}

// nest guards the recursion of the parser.
func (p *parser) nest() func() {
	if p.depth++; p.depth > MaxNesting {
		panic(syntax{&Error{Line: p.cur().line, Err: limitErr("nesting", MaxNesting)}})
	}
	return func() { p.depth-- }
}

// maxChain bounds the operators, subscripts or filters in one row: each is a
// level of the tree.
const maxChain = 500

func (p *parser) chain(n int) {
	if n >= maxChain {
		panic(syntax{&Error{Line: p.cur().line, Err: limitErr("operators in one expression", maxChain)}})
	}
}

func parse(source string) (body []stmt, err error) {
	toks, err := lex(source)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(syntax)
			if !ok {
				panic(r)
			}
			body, err = nil, s.err
		}
	}()
	p := &parser{toks: toks}
	return p.body(nil), nil
}

// body parses statements up to one of the end tags, which is left as the
// current token; with no end tags, up to the end of the template.
func (p *parser) body(ends []string) []stmt {
	defer p.nest()()
	var out []stmt
	for {
		t := p.cur()
		switch t.kind {
		case eof:
			if ends != nil {
				p.fail(t.line, "unexpected end of template, looking for %q", ends)
			}
			return out
		case data:
			p.next()
			out = append(out, &textStmt{pos(t.line), t.text})
		case exprOpen:
			p.next()
			x := p.tuple(tupleOptions{cond: true})
			out = append(out, &printStmt{pos(t.line), x})
			p.expect(exprEnd, "")
		default: // blockOpen
			p.expect(blockOpen, "")
			if p.cur().kind == name && slices.Contains(ends, p.cur().text) {
				return out
			}
			out = append(out, p.statement()...)
			p.expect(blockEnd, "")
		}
	}
}

// block parses the rest of an opening tag, statements and, if drop, the end
// tag's name.
func (p *parser) block(drop bool, ends ...string) []stmt {
	p.skip(op, ":")
	p.expect(blockEnd, "")
	out := p.body(ends)
	if drop {
		p.next()
	}
	return out
}

// inner parses a body that is a function of its own: loops outside of it
// cannot be left from inside.
func (p *parser) inner(ends ...string) []stmt {
	loops := p.loops
	p.loops = 0
	out := p.block(true, ends...)
	p.loops = loops
	return out
}

func (p *parser) statement() []stmt {
	t := p.cur()
	if t.kind != name {
		p.fail(t.line, "tag name expected, got %s", t.describe())
	}
	p.next()
	at := pos(t.line)
	switch t.text {
	case "for":
		return []stmt{p.forLoop(at)}
	case "if":
		return []stmt{p.ifElse(at)}
	case "set":
		return []stmt{p.set(at)}
	case "with":
		return []stmt{p.with(at)}
	case "macro":
		m := &macroStmt{pos: at, name: p.expect(name, "").text}
		p.signature(&m.sig)
		m.body = p.inner("endmacro")
		return []stmt{m}
	case "call":
		return []stmt{p.callBlock(at)}
	case "filter":
		f := &filterStmt{pos: at, filter: p.filters(nil, true)}
		f.body = p.block(true, "endfilter")
		return []stmt{f}
	case "generation":
		return []stmt{&generationStmt{pos: at, body: p.inner("endgeneration")}}
	case "print":
		var out []stmt
		for p.cur().kind != blockEnd {
			if out != nil {
				p.expect(op, ",")
			}
			out = append(out, &printStmt{at, p.expression(true)})
		}
		return out
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t.line, "%q outside a loop", t.text)
		}
		if t.text == "break" {
			return []stmt{&breakStmt{at}}
		}
		return []stmt{&continueStmt{at}}
	case "extends", "block", "include", "import", "from", "autoescape":
		p.fail(t.line, "tag %q is not implemented", t.text)
	}
	p.fail(t.line, "unknown tag %q", t.text)
	return nil
}

func (p *parser) forLoop(at pos) stmt {
	f := &forStmt{pos: at}
	f.target = p.target(tupleOptions{simple: true, end: "in"})
	p.expect(name, "in")
	f.iter = p.tuple(tupleOptions{end: "recursive"})
	if p.skip(name, "if") {
		f.filter = p.expression(true)
	}
	f.recursive = p.skip(name, "recursive")
	p.loops++
	f.body = p.block(false, "endfor", "else")
	p.loops--
	if p.next().text == "else" {
		f.els = p.block(true, "endfor")
	}
	return f
}

func (p *parser) ifElse(at pos) stmt {
	out := &ifStmt{pos: at}
	for node := out; ; {
		node.test = p.tuple(tupleOptions{})
		node.body = p.block(false, "elif", "else", "endif")
		switch t := p.next(); t.text {
		case "elif":
			node = &ifStmt{pos: pos(t.line)}
			out.elif = append(out.elif, node)
			continue
		case "else":
			out.els = p.block(true, "endif")
		}
		return out
	}
}

func (p *parser) set(at pos) stmt {
	target := p.target(tupleOptions{simple: true, namespace: true})
	if p.skip(op, "=") {
		return &setStmt{at, target, p.tuple(tupleOptions{cond: true})}
	}
	s := &setBlock{pos: at, target: target}
	if p.cur().is(op, "|") {
		s.filter = p.filters(nil, false)
	}
	s.body = p.block(true, "endset")
	return s
}

func (p *parser) with(at pos) stmt {
	w := &withStmt{pos: at}
	for p.cur().kind != blockEnd {
		if w.targets != nil {
			p.expect(op, ",")
		}
		t := p.target(tupleOptions{simple: true})
		setUse(t, param)
		w.targets = append(w.targets, t)
		p.expect(op, "=")
		w.values = append(w.values, p.expression(true))
	}
	w.body = p.block(true, "endwith")
	return w
}

func (p *parser) callBlock(at pos) stmt {
	c := &callStmt{pos: at}
	if p.cur().is(op, "(") {
		p.signature(&c.sig)
	}
	call, ok := p.expression(true).(*callExpr)
	if !ok {
		p.fail(at.at(), "expected call")
	}
	c.call = call
	c.body = p.inner("endcall")
	return c
}

func (p *parser) signature(s *signature) {
	p.expect(op, "(")
	for !p.cur().is(op, ")") {
		if s.params != nil {
			p.expect(op, ",")
		}
		t := p.expect(name, "")
		if isConstName(t.text) {
			p.fail(t.line, "can't assign to %q", t.text)
		}
		for _, q := range s.params {
			if q.name == t.text {
				p.fail(t.line, "duplicate parameter %q", t.text)
			}
		}
		s.params = append(s.params, &nameExpr{pos: pos(t.line), name: t.text, use: param})
		if p.skip(op, "=") {
			s.defaults = append(s.defaults, p.expression(true))
		} else if s.defaults != nil {
			p.fail(t.line, "non-default argument follows default argument")
		}
	}
	p.expect(op, ")")
}

// target parses the target of an assignment.
func (p *parser) target(o tupleOptions) expr {
	x := p.tuple(o)
	if !assignable(x) {
		p.fail(x.at(), "can't assign to this expression")
	}
	setUse(x, store)
	return x
}

func isConstName(s string) bool {
	switch s {
	case "true", "false", "none", "True", "False", "None":
		return true
	}
	return false
}

func assignable(x expr) bool {
	switch x := x.(type) {
	case *nameExpr, *nsExpr:
		return true
	case *tupleExpr:
		for _, it := range x.items {
			if !assignable(it) {
				return false
			}
		}
		return true
	}
	return false
}

func setUse(x expr, u use) {
	switch x := x.(type) {
	case *nameExpr:
		x.use = u
	case *tupleExpr:
		for _, it := range x.items {
			setUse(it, u)
		}
	}
}
