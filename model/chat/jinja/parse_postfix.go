package jinja

// Atoms, and what may follow them: subscripts, calls, filters, tests.

func (p *parser) primary(namespace bool) expr {
	t := p.cur()
	at := pos(t.line)
	switch {
	case t.kind == name:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{at, true}
		case "false", "False":
			return &constExpr{at, false}
		case "none", "None":
			return &constExpr{at, nil}
		}
		if namespace && p.skip(op, ".") {
			return &nsExpr{pos: at, name: t.text, attr: p.expect(name, "").text}
		}
		return &nameExpr{pos: at, name: t.text}
	case t.kind == str:
		parts := []Str{}
		for p.cur().kind == str {
			parts = append(parts, p.next().val.(Str))
		}
		return &constExpr{at, concat(parts...)}
	case t.kind == number:
		p.next()
		return &constExpr{at, t.val}
	case t.is(op, "("):
		defer p.nest()()
		p.next()
		x := p.tuple(tupleOptions{cond: true, parens: true})
		p.expect(op, ")")
		return x
	case t.is(op, "["):
		p.next()
		l := &listExpr{pos: at}
		for !p.cur().is(op, "]") {
			if l.items != nil {
				p.expect(op, ",")
				if p.cur().is(op, "]") {
					break
				}
			}
			l.items = append(l.items, p.expression(true))
		}
		p.expect(op, "]")
		return l
	case t.is(op, "{"):
		p.next()
		d := &dictExpr{pos: at}
		for !p.cur().is(op, "}") {
			if d.keys != nil {
				p.expect(op, ",")
				if p.cur().is(op, "}") {
					break
				}
			}
			d.keys = append(d.keys, p.expression(true))
			p.expect(op, ":")
			d.vals = append(d.vals, p.expression(true))
		}
		p.expect(op, "}")
		return d
	}
	p.fail(t.line, "unexpected %s", t.describe())
	return nil
}

// postfix parses subscripts, attributes and calls.
func (p *parser) postfix(x expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		t := p.cur()
		switch {
		case t.is(op, "."):
			p.next()
			a := p.next()
			switch {
			case a.kind == name:
				x = &attrExpr{pos(t.line), x, a.text}
			case a.kind == number && isInt(a.val):
				x = &itemExpr{pos(t.line), x, &constExpr{pos(t.line), a.val}}
			default:
				p.fail(a.line, "expected name or number, got %s", a.describe())
			}
		case t.is(op, "["):
			p.next()
			var keys []expr
			for !p.cur().is(op, "]") {
				if keys != nil {
					p.expect(op, ",")
				}
				keys = append(keys, p.subscript())
			}
			p.expect(op, "]")
			if len(keys) == 1 {
				x = &itemExpr{pos(t.line), x, keys[0]}
				break
			}
			for _, k := range keys {
				if _, ok := k.(*sliceExpr); ok {
					p.fail(t.line, "a slice among several subscripts")
				}
			}
			x = &itemExpr{pos(t.line), x, &tupleExpr{pos(t.line), keys}}
		case t.is(op, "("):
			x = &callExpr{pos(t.line), x, p.arguments()}
		default:
			return x
		}
	}
}

func (p *parser) subscript() expr {
	at := pos(p.cur().line)
	s := &sliceExpr{pos: at}
	if !p.cur().is(op, ":") {
		x := p.expression(true)
		if !p.cur().is(op, ":") {
			return x
		}
		s.start = x
	}
	p.next()
	ends := func() bool { return p.cur().is(op, "]") || p.cur().is(op, ",") }
	if !p.cur().is(op, ":") && !ends() {
		s.stop = p.expression(true)
	}
	if p.skip(op, ":") && !ends() {
		s.step = p.expression(true)
	}
	return s
}

func (p *parser) arguments() arguments {
	line := p.expect(op, "(").line
	var a arguments
	first := true
	for !p.cur().is(op, ")") {
		if !first {
			p.expect(op, ",")
			if p.cur().is(op, ")") {
				break
			}
		}
		first = false
		ok := true
		switch {
		case p.cur().is(op, "*"):
			ok = a.star == nil && a.kwstar == nil
			p.next()
			a.star = p.expression(true)
		case p.cur().is(op, "**"):
			ok = a.kwstar == nil
			p.next()
			a.kwstar = p.expression(true)
		case p.cur().kind == name && p.look().is(op, "="):
			ok = a.kwstar == nil
			key := p.next().text
			for _, n := range a.names {
				ok = ok && n != key
			}
			p.next()
			a.names = append(a.names, key)
			a.named = append(a.named, p.expression(true))
		default:
			ok = a.star == nil && a.kwstar == nil && a.names == nil
			a.pos = append(a.pos, p.expression(true))
		}
		if !ok {
			p.fail(line, "invalid syntax for function call expression")
		}
	}
	p.expect(op, ")")
	return a
}

func (p *parser) filterOrTest(x expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		t := p.cur()
		switch {
		case t.is(op, "|"):
			x = p.filters(x, false)
		case t.is(name, "is"):
			x = p.test(x)
		case t.is(op, "("):
			x = &callExpr{pos(t.line), x, p.arguments()}
		default:
			return x
		}
	}
}

// filters parses a chain of filters; inline, the first has no bar.
func (p *parser) filters(x expr, inline bool) expr {
	for n := 0; inline || p.cur().is(op, "|"); n++ {
		p.chain(n)
		if !inline {
			p.next()
		}
		inline = false
		f := &filterExpr{pos: pos(p.cur().line), x: x, name: p.dotted()}
		if p.cur().is(op, "(") {
			f.args = p.arguments()
		}
		x = f
	}
	return x
}

func (p *parser) dotted() string {
	s := p.expect(name, "").text
	for p.skip(op, ".") {
		s += "." + p.expect(name, "").text
	}
	return s
}

func (p *parser) test(x expr) expr {
	at := pos(p.next().line)
	negate := p.skip(name, "not")
	t := &testExpr{pos: at, x: x, name: p.dotted()}
	c := p.cur()
	switch {
	case c.is(op, "("):
		t.args = p.arguments()
	case c.kind == name && (c.text == "else" || c.text == "or" || c.text == "and"):
	case c.is(name, "is"):
		p.fail(c.line, "you cannot chain multiple tests with is")
	case c.kind == name || c.kind == str || c.kind == number || c.is(op, "[") || c.is(op, "{"):
		t.args.pos = []expr{p.postfix(p.primary(false))}
	}
	if negate {
		return &notExpr{at, t}
	}
	return t
}
