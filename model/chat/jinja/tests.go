package jinja

import (
	"fmt"
)

// test is one test of the `is` operator; params as in bindArgs, after the
// value.
type test struct {
	params string
	call   func(r *run, v Value, p []Value) (bool, error)
}

var tests map[string]test

func init() { // refers to itself through "test"
	pure := func(f func(v Value) bool) test {
		return test{"", func(r *run, v Value, p []Value) (bool, error) { return f(v), nil }}
	}
	compare := func(op string) test {
		return test{"other", func(r *run, v Value, p []Value) (bool, error) { return r.compare(op, v, p[0]) }}
	}
	remainder := func(num, want int64) test {
		return test{"", func(r *run, v Value, p []Value) (bool, error) { return r.divides(v, num, want) }}
	}
	undefined := func(v Value) bool { _, ok := v.(*Undefined); return ok }
	text := func(f func(s string) bool) test {
		return test{"", func(r *run, v Value, p []Value) (bool, error) {
			s, err := r.str(v)
			return f(s.text), err
		}}
	}
	known := func(has func(name string) bool) test {
		return test{"", func(r *run, v Value, p []Value) (bool, error) {
			s, ok := v.(Str)
			return ok && has(s.text), nil
		}}
	}
	tests = map[string]test{
		"defined":   pure(func(v Value) bool { return !undefined(v) }),
		"undefined": pure(undefined),
		"none":      pure(func(v Value) bool { return v == nil }),
		"boolean":   pure(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":      pure(func(v Value) bool { return v == true }),
		"false":     pure(func(v Value) bool { return v == false }),
		"integer":   pure(isInt),
		"float":     pure(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":    pure(isNumber),
		"string":    pure(func(v Value) bool { _, ok := v.(Str); return ok }),
		"mapping":   pure(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"sequence": pure(func(v Value) bool {
			switch v.(type) {
			case Str, *List, *Tuple, *Dict, *Range, *Undefined:
				return true
			}
			return false
		}),
		"iterable": pure(func(v Value) bool {
			switch v.(type) {
			case Str, *List, *Tuple, *Dict, *Range, *view, *iter, *loop, *Undefined:
				return true
			}
			return false
		}),
		"callable": pure(func(v Value) bool {
			switch v.(type) {
			case *function, *macro, *loop, *joiner, *Undefined:
				return true
			}
			return false
		}),
		"escaped": pure(func(v Value) bool { s, ok := v.(Str); return ok && s.safe }),
		"odd":     remainder(2, 1),
		"even":    remainder(2, 0),
		"divisibleby": {"num", func(r *run, v Value, p []Value) (bool, error) {
			m, err := r.binary("%", v, p[0])
			if err != nil {
				return false, err
			}
			return r.equal(m, int64(0))
		}},
		"lower":  text(isLower),
		"upper":  text(isUpper),
		"filter": known(func(n string) bool { _, ok := filters[n]; return ok }),
		"test":   known(func(n string) bool { _, ok := tests[n]; return ok }),
		"sameas": {"other", func(r *run, v Value, p []Value) (bool, error) {
			if s, ok := v.(Str); ok {
				o, ok := p[0].(Str)
				return ok && s.text == o.text, nil
			}
			return same(v, p[0]), nil
		}},
		"in": {"seq", func(r *run, v Value, p []Value) (bool, error) { return r.contains(p[0], v) }},
		"==": compare("=="), "eq": compare("=="), "equalto": compare("=="),
		"!=": compare("!="), "ne": compare("!="),
		">": compare(">"), "gt": compare(">"), "greaterthan": compare(">"),
		">=": compare(">="), "ge": compare(">="),
		"<": compare("<"), "lt": compare("<"), "lessthan": compare("<"),
		"<=": compare("<="), "le": compare("<="),
	}
}

// divides reports whether v % num == want.
func (r *run) divides(v Value, num, want int64) (bool, error) {
	m, err := r.binary("%", v, num)
	if err != nil {
		return false, err
	}
	return r.equal(m, want)
}

// test applies the test of that name to v.
func (r *run) test(name Str, v Value, a args) (Value, error) {
	t, ok := tests[name.text]
	if !ok {
		return nil, fmt.Errorf("no test named %s found", shown(name))
	}
	p, err := bindArgs(name.text, t.params, a)
	if err != nil {
		return nil, err
	}
	return t.call(r, v, p)
}
