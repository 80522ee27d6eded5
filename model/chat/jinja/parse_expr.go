package jinja

// Expressions by descending precedence of their parser:
// condition < or < and < not < comparison < + - < ~ < * / // % < ** <
// sign < subscript, call < filter, test.

type tupleOptions struct {
	simple    bool   // only names and literals: the target of an assignment
	cond      bool   // conditional expressions allowed
	parens    bool   // in parentheses: may be empty
	namespace bool   // ns.attr allowed
	end       string // a name that ends the tuple too
}

// tuple parses expressions separated by commas; one without a comma is itself.
func (p *parser) tuple(o tupleOptions) expr {
	line := p.cur().line
	var items []expr
	comma := false
	for {
		if items != nil {
			p.expect(op, ",")
		}
		t := p.cur()
		if t.kind == exprEnd || t.kind == blockEnd || t.is(op, ")") || o.end != "" && t.is(name, o.end) {
			break
		}
		if o.simple {
			items = append(items, p.primary(o.namespace))
		} else {
			items = append(items, p.expression(o.cond))
		}
		if !p.cur().is(op, ",") {
			break
		}
		comma = true
	}
	if !comma {
		if items != nil {
			return items[0]
		}
		if !o.parens {
			p.fail(p.cur().line, "expected an expression, got %s", p.cur().describe())
		}
	}
	return &tupleExpr{pos(line), items}
}

func (p *parser) expression(cond bool) expr {
	defer p.nest()()
	line := p.cur().line
	x := p.or()
	if !cond {
		return x
	}
	for n := 0; p.skip(name, "if"); n++ {
		p.chain(n)
		c := &condExpr{pos: pos(line), yes: x, test: p.or()}
		if p.skip(name, "else") {
			c.no = p.expression(true)
		}
		x = c
		line = p.cur().line
	}
	return x
}

func (p *parser) or() expr {
	x := p.and()
	for n := 0; p.cur().is(name, "or"); n++ {
		p.chain(n)
		at := pos(p.next().line)
		x = &logicExpr{at, false, x, p.and()}
	}
	return x
}

func (p *parser) and() expr {
	x := p.not()
	for n := 0; p.cur().is(name, "and"); n++ {
		p.chain(n)
		at := pos(p.next().line)
		x = &logicExpr{at, true, x, p.not()}
	}
	return x
}

func (p *parser) not() expr {
	if p.cur().is(name, "not") {
		defer p.nest()()
		at := pos(p.next().line)
		return &notExpr{at, p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	at := pos(p.cur().line)
	x := p.sum()
	var ops []string
	var rest []expr
	for {
		t := p.cur()
		switch {
		case t.kind == op && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			p.next()
			ops = append(ops, t.text)
		case t.is(name, "in"):
			p.next()
			ops = append(ops, "in")
		case t.is(name, "not") && p.look().is(name, "in"):
			p.next()
			p.next()
			ops = append(ops, "not in")
		default:
			if ops == nil {
				return x
			}
			return &compareExpr{at, x, ops, rest}
		}
		rest = append(rest, p.sum())
	}
}

func (p *parser) sum() expr {
	x := p.concat()
	for n := 0; p.cur().is(op, "+") || p.cur().is(op, "-"); n++ {
		p.chain(n)
		t := p.next()
		x = &binExpr{pos(t.line), t.text, x, p.concat()}
	}
	return x
}

func (p *parser) concat() expr {
	at := pos(p.cur().line)
	x := p.product()
	if !p.cur().is(op, "~") {
		return x
	}
	items := []expr{x}
	for p.skip(op, "~") {
		items = append(items, p.product())
	}
	return &concatExpr{at, items}
}

func (p *parser) product() expr {
	x := p.power()
	for n := 0; p.cur().is(op, "*") || p.cur().is(op, "/") || p.cur().is(op, "//") || p.cur().is(op, "%"); n++ {
		p.chain(n)
		t := p.next()
		x = &binExpr{pos(t.line), t.text, x, p.power()}
	}
	return x
}

// power is left-associative, as jinja2's is and Python's is not.
func (p *parser) power() expr {
	x := p.unary(true)
	for n := 0; p.cur().is(op, "**"); n++ {
		p.chain(n)
		t := p.next()
		x = &binExpr{pos(t.line), t.text, x, p.unary(true)}
	}
	return x
}

func (p *parser) unary(filter bool) expr {
	defer p.nest()()
	t := p.cur()
	var x expr
	if t.is(op, "-") || t.is(op, "+") {
		p.next()
		x = &unaryExpr{pos(t.line), t.text[0], p.unary(false)}
	} else {
		x = p.primary(false)
	}
	x = p.postfix(x)
	if filter {
		x = p.filterOrTest(x)
	}
	return x
}
