package jinja

import (
	"errors"
	"fmt"
)

// signal is how a statement ended.
type signal byte

const (
	done signal = iota
	breaking
	continuing
)

// at gives err the line of the node that caused it, unless it has one.
func atLine(line int, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Line: line, Err: err}
}

func (r *run) stmts(list []stmt, f *frame) (signal, error) {
	for _, s := range list {
		sig, err := r.stmt(s, f)
		if err != nil {
			return done, atLine(s.at(), err)
		}
		if sig != done {
			return sig, nil
		}
	}
	return done, nil
}

func (r *run) write(s Str) error {
	if r.out.len()+len(s.text) > MaxOutput {
		return limitErr("bytes of output", MaxOutput)
	}
	r.out.add(s)
	return r.textCost(len(s.text))
}

func (r *run) stmt(s stmt, f *frame) (signal, error) {
	if err := r.step(1); err != nil {
		return done, err
	}
	switch s := s.(type) {
	case *textStmt:
		return done, r.write(Text(s.text))
	case *printStmt:
		v, err := r.eval(s.x, f)
		if err != nil {
			return done, err
		}
		text, err := r.str(v)
		if err != nil {
			return done, err
		}
		return done, r.write(text)
	case *ifStmt:
		return r.ifStmt(s, f)
	case *forStmt:
		return r.forStmt(s, f)
	case *setStmt:
		v, err := r.eval(s.value, f)
		if err != nil {
			return done, err
		}
		return done, r.assign(s.target, v, f)
	case *setBlock:
		var sig signal
		inner := r.enter(s.scope, f)
		text, err := r.within(func() (err error) { sig, err = r.stmts(s.body, inner); return })
		if err != nil || sig != done {
			return sig, err
		}
		var v Value = text
		if s.filter != nil {
			if v, err = r.filterChain(s.filter, text, inner); err != nil {
				return done, err
			}
		}
		return done, r.assign(s.target, v, f)
	case *filterStmt:
		var sig signal
		inner := r.enter(s.scope, f)
		text, err := r.within(func() (err error) { sig, err = r.stmts(s.body, inner); return })
		if err != nil || sig != done {
			return sig, err
		}
		v, err := r.filterChain(s.filter, text, inner)
		if err != nil {
			return done, err
		}
		out, err := r.str(v)
		if err != nil {
			return done, err
		}
		return done, r.write(out)
	case *withStmt:
		inner := r.enter(s.scope, f)
		for i, x := range s.values {
			v, err := r.eval(x, f)
			if err != nil {
				return done, err
			}
			if err := r.assign(s.targets[i], v, inner); err != nil {
				return done, err
			}
		}
		return r.stmts(s.body, inner)
	case *generationStmt:
		return r.stmts(s.body, r.enter(s.scope, f))
	case *macroStmt:
		*f.at(s.ref) = &macro{name: s.name, sig: &s.sig, body: s.body, home: f}
		return done, nil
	case *callStmt:
		caller := &macro{sig: &s.sig, body: s.body, home: f}
		v, err := r.callWith(s.call, f, caller)
		if err != nil {
			return done, err
		}
		text, err := r.str(v)
		if err != nil {
			return done, err
		}
		return done, r.write(text)
	case *breakStmt:
		return breaking, nil
	case *continueStmt:
		return continuing, nil
	}
	return done, fmt.Errorf("unknown statement %T", s)
}

func (r *run) ifStmt(s *ifStmt, f *frame) (signal, error) {
	v, err := r.eval(s.test, f)
	if err != nil {
		return done, err
	}
	if truth(v) {
		return r.stmts(s.body, f)
	}
	for _, e := range s.elif {
		v, err := r.eval(e.test, f)
		if err != nil {
			return done, atLine(e.at(), err)
		}
		if truth(v) {
			return r.stmts(e.body, f)
		}
	}
	return r.stmts(s.els, f)
}

func (r *run) forStmt(s *forStmt, f *frame) (signal, error) {
	src, err := r.eval(s.iter, f)
	if err != nil {
		return done, err
	}
	if !s.recursive {
		return r.loop(s, f, src, 0, nil)
	}
	var recurse func(v Value, depth int) (Value, error)
	recurse = func(v Value, depth int) (Value, error) {
		if err := r.call(); err != nil {
			return nil, err
		}
		defer r.ret()
		text, err := r.within(func() error {
			_, err := r.loop(s, f, v, depth, recurse)
			return err
		})
		return text, err
	}
	return r.loop(s, f, src, 0, recurse)
}

// loop runs the for statement s over src.
func (r *run) loop(s *forStmt, f *frame, src Value, depth int, recurse func(Value, int) (Value, error)) (signal, error) {
	it, err := r.iterate(src)
	if err != nil {
		return done, err
	}
	if s.filter != nil {
		test := r.enter(s.filterScope, f)
		all := it
		it = &iter{"generator", func() (Value, bool, error) {
			for {
				v, ok, err := all.next()
				if err != nil || !ok {
					return nil, false, err
				}
				if err := r.assignIn(s.target, v, s.filterScope, test); err != nil {
					return nil, false, err
				}
				keep, err := r.eval(s.filter, test)
				if err != nil {
					return nil, false, atLine(s.filter.at(), err)
				}
				if truth(keep) {
					return v, true, nil
				}
			}
		}}
		src = it
	}
	l := &loop{r: r, src: src, it: it, index0: -1, depth0: depth, length: -1, after: missing, changed: missing, recurse: recurse}
	inner := &frame{parent: f, vars: make([]Value, len(s.scope.slots))}
	for i := range inner.vars {
		inner.vars[i] = missing
	}
	ran := false // an iteration came to the end of the body; jinja2 has it so
	for {
		v, ok, err := l.next()
		if err != nil {
			return done, err
		}
		if !ok {
			break
		}
		if err := r.step(1); err != nil {
			return done, err
		}
		r.prepare(inner, s.scope)
		if err := r.assign(s.target, v, inner); err != nil {
			return done, err
		}
		if s.loop != nil {
			*inner.at(s.loop.ref) = l
		}
		sig, err := r.stmts(s.body, inner)
		if err != nil {
			return done, err
		}
		if sig == breaking {
			break
		}
		ran = ran || sig == done
	}
	if !ran && s.els != nil {
		return r.stmts(s.els, r.enter(s.elsScope, f))
	}
	return done, nil
}

// assignIn binds a loop target in the scope of the loop's filter, whose slots
// are not those that the target's names were bound to.
func (r *run) assignIn(target expr, v Value, s *scope, f *frame) error {
	switch t := target.(type) {
	case *nameExpr:
		f.vars[s.index[t.name]] = v
		return nil
	case *tupleExpr:
		items, err := r.unpack(v, len(t.items))
		if err != nil {
			return err
		}
		for i, x := range t.items {
			if err := r.assignIn(x, items[i], s, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// assign stores v in target.
func (r *run) assign(target expr, v Value, f *frame) error {
	switch t := target.(type) {
	case *nameExpr:
		*f.at(t.ref) = v
	case *nsExpr:
		ns, ok := (*f.at(t.ref)).(*Namespace)
		if !ok {
			return errors.New("cannot assign attribute on non-namespace object")
		}
		return ns.set(Text(t.attr), v)
	case *tupleExpr:
		items, err := r.unpack(v, len(t.items))
		if err != nil {
			return err
		}
		for i, x := range t.items {
			if err := r.assign(x, items[i], f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) unpack(v Value, n int) ([]Value, error) {
	it, err := r.iterate(v)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack non-iterable %s object", typeName(v))
	}
	var out []Value
	for {
		x, ok, err := it.next()
		switch {
		case err != nil:
			return nil, err
		case !ok && len(out) < n:
			return nil, fmt.Errorf("not enough values to unpack (expected %d, got %d)", n, len(out))
		case !ok:
			return out, nil
		case len(out) == n:
			return nil, fmt.Errorf("too many values to unpack (expected %d)", n)
		}
		out = append(out, x)
	}
}

func (n *Namespace) set(k Str, v Value) error {
	if len(k.text) > 0 && k.text[0] == '_' {
		return fmt.Errorf("cannot store underscore-prefixed attribute %s on a namespace", shown(k))
	}
	n.attrs.Set(k, v)
	return nil
}
