package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// macro is a macro or the body of a call block, with the frame it was made in.
type macro struct {
	name string // "" for the body of a call block
	sig  *signature
	body []stmt
	home *frame
}

// call and ret count nested calls of template functions.
func (r *run) call() error {
	if r.calls++; r.calls > MaxCalls {
		r.calls--
		return limitErr("nested calls", MaxCalls)
	}
	return nil
}

func (r *run) ret() { r.calls-- }

// args evaluates the arguments of a call.
func (r *run) args(a *arguments, f *frame) (args, error) {
	var out args
	var err error
	if out.pos, err = r.evalAll(a.pos, f); err != nil {
		return out, err
	}
	set := func(k Str, v Value) error {
		if out.named == nil {
			out.named = NewDict()
		}
		if _, ok := out.named.Get(k.text); ok {
			return fmt.Errorf("got multiple values for keyword argument %s", shown(k))
		}
		out.named.Set(k, v)
		return nil
	}
	for i, x := range a.named {
		v, err := r.eval(x, f)
		if err != nil {
			return out, err
		}
		if err := set(Text(a.names[i]), v); err != nil {
			return out, err
		}
	}
	if a.star != nil {
		v, err := r.eval(a.star, f)
		if err != nil {
			return out, err
		}
		more, err := r.list(v)
		if err != nil {
			return out, err
		}
		out.pos = append(slices.Clip(out.pos), more...)
	}
	if a.kwstar != nil {
		v, err := r.eval(a.kwstar, f)
		if err != nil {
			return out, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return out, fmt.Errorf("argument after ** must be a mapping, not %s", typeName(v))
		}
		for i, k := range d.keys {
			s, ok := k.(Str)
			if !ok {
				return out, fmt.Errorf("keywords must be strings")
			}
			if err := set(s, d.vals[i]); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// callWith evaluates a call, handing caller, if not nil, to a macro.
func (r *run) callWith(x *callExpr, f *frame, caller *macro) (Value, error) {
	fn, err := r.eval(x.fn, f)
	if err != nil {
		return nil, err
	}
	a, err := r.args(&x.args, f)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		if _, ok := a.named.Get("caller"); ok {
			return nil, fmt.Errorf("got multiple values for keyword argument 'caller'")
		}
		a.named = a.named.copy()
		a.named.Set(Text("caller"), caller)
	}
	return r.invoke(fn, a)
}

func (r *run) invoke(fn Value, a args) (Value, error) {
	switch fn := fn.(type) {
	case *function:
		return fn.call(r, a)
	case *macro:
		return r.callMacro(fn, a)
	case *loop:
		if fn.recurse == nil {
			return nil, fmt.Errorf("the loop must have the 'recursive' marker to be called recursively")
		}
		p, err := bindArgs("loop", "iterable", a)
		if err != nil {
			return nil, err
		}
		return fn.recurse(p[0], fn.depth0+1)
	case *joiner:
		if fn.used {
			return fn.sep, nil
		}
		fn.used = true
		return Str{}, nil
	case *Undefined:
		return nil, fn.err()
	}
	return nil, fmt.Errorf("'%s' object is not callable", typeName(fn))
}

// callMacro binds arguments as jinja2's Macro does and runs the body.
func (r *run) callMacro(m *macro, a args) (Value, error) {
	if err := r.call(); err != nil {
		return nil, err
	}
	defer r.ret()
	sig := m.sig
	named := a.named.copy()
	take := func(name string) (Value, bool) {
		v, ok := named.Get(name)
		if ok {
			named.remove(name)
		}
		return v, ok
	}
	f := r.enter(sig.scope, m.home)
	n := min(len(a.pos), len(sig.params))
	foundCaller := n == len(sig.params) && sig.explicitCaller
	for i, p := range sig.params {
		slot := f.at(p.ref)
		*slot = missing
		if i < n {
			*slot = a.pos[i]
			continue
		}
		if v, ok := take(p.name); ok {
			*slot = v
		}
		foundCaller = foundCaller || p.name == "caller"
	}
	if sig.usesCaller && !foundCaller {
		v, ok := take("caller")
		if !ok || v == nil {
			v = &Undefined{hint: "No caller defined"}
		}
		if sig.caller == nil { // a caller parameter that came by position
			return nil, fmt.Errorf("macro '%s' was invoked with two values for the special caller argument", m.name)
		}
		*f.at(sig.caller.ref) = v
	}
	label := "'" + m.name + "'"
	if m.name == "" {
		label = "None"
	}
	switch {
	case sig.kwargs != nil:
		*f.at(sig.kwargs.ref) = named
	case named.Len() > 0:
		if _, ok := named.Get("caller"); ok {
			return nil, fmt.Errorf("macro %s was invoked with two values for the special caller argument", label)
		}
		return nil, fmt.Errorf("macro %s takes no keyword argument %s", label, shown(named.keys[0]))
	}
	switch {
	case sig.varargs != nil:
		*f.at(sig.varargs.ref) = &Tuple{items: a.pos[n:]}
	case len(a.pos) > len(sig.params):
		return nil, fmt.Errorf("macro %s takes not more than %d argument(s)", label, len(sig.params))
	}
	for i, p := range sig.params {
		slot := f.at(p.ref)
		if *slot != missing {
			continue
		}
		d := i - (len(sig.params) - len(sig.defaults))
		if d < 0 {
			*slot = &Undefined{hint: fmt.Sprintf("parameter '%s' was not provided", p.name)}
			continue
		}
		v, err := r.eval(sig.defaults[d], f)
		if err != nil {
			return nil, err
		}
		*slot = v
	}
	return r.within(func() error {
		_, err := r.stmts(m.body, f)
		return err
	})
}

func (d *Dict) remove(k string) {
	i, ok := d.index["s"+k]
	if !ok {
		return
	}
	d.keys = slices.Delete(d.keys, i, i+1)
	d.vals = slices.Delete(d.vals, i, i+1)
	delete(d.index, "s"+k)
	for h, j := range d.index {
		if j > i {
			d.index[h] = j - 1
		}
	}
}

// bindArgs matches arguments with a parameter list such as
// "value, width=, *": names in order, "=" after an optional one, which is
// missing when not given; "*" alone after which only keywords are taken.
func bindArgs(fn, params string, a args) ([]Value, error) {
	var names []string
	required := 0
	positional := -1
	for p := range strings.SplitSeq(params, ",") {
		p = strings.TrimSpace(p)
		switch {
		case p == "":
		case p == "*":
			positional = len(names)
		case strings.HasSuffix(p, "="):
			names = append(names, strings.TrimSuffix(p, "="))
		default:
			names = append(names, p)
			required = len(names)
		}
	}
	if positional < 0 {
		positional = len(names)
	}
	if len(a.pos) > positional {
		return nil, fmt.Errorf("%s() takes at most %d arguments (%d given)", fn, positional, len(a.pos))
	}
	out := make([]Value, len(names))
	for i := range out {
		out[i] = missing
	}
	copy(out, a.pos)
	for i := range a.named.Len() {
		k, _ := a.named.keys[i].(Str)
		j := slices.Index(names, k.text)
		if j < 0 {
			return nil, fmt.Errorf("%s() got an unexpected keyword argument %s", fn, shown(k))
		}
		if out[j] != missing {
			return nil, fmt.Errorf("%s() got multiple values for argument '%s'", fn, k.text)
		}
		out[j] = a.named.vals[i]
	}
	for i := range required {
		if out[i] == missing {
			return nil, fmt.Errorf("%s() missing required argument '%s'", fn, names[i])
		}
	}
	return out, nil
}
