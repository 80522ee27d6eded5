package jinja

import "fmt"

// Names follow jinja2's compiler, not the order of execution. Each for loop,
// macro, call block, block set, with and filter block is a scope of its own;
// an if is not. On entering a scope, every name that it mentions is prepared
// once: a name that is stored there before it is read starts out undefined (or
// with the outer scope's value), a name that is read first comes from the outer
// scope, else from the values given to the template. So a name stored anywhere
// in a scope hides the value given under that name from the scopes inside.

type prepare byte

const (
	asParam   prepare = iota // set by the caller
	asUnset                  // undefined until stored
	asAlias                  // the outer scope's value at entry
	asContext                // the value given to the template, or a global
)

// slot says how one name of a scope is prepared.
type slot struct {
	name string
	how  prepare
	from ref // of asAlias, seen from the scope itself
}

// scope is the static side of a frame.
type scope struct {
	parent *scope
	slots  []slot
	index  map[string]int
	// refs are the names known so far, stores those assigned so far: they
	// differ between the branches of an if while it is analysed.
	refs, stores map[string]bool
}

func newScope(parent *scope) *scope {
	return &scope{parent: parent, index: map[string]int{}, refs: map[string]bool{}, stores: map[string]bool{}}
}

// find returns where name is kept, if it is known here or further out.
func (s *scope) find(name string) (ref, bool) {
	for up := 0; s != nil; up, s = up+1, s.parent {
		if s.refs[name] {
			return ref{up, s.index[name]}, true
		}
	}
	return ref{}, false
}

func (s *scope) define(name string, how prepare, from ref) {
	i, ok := s.index[name]
	if !ok {
		i = len(s.slots)
		s.index[name] = i
		s.slots = append(s.slots, slot{})
	}
	s.slots[i] = slot{name, how, from}
	s.refs[name] = true
}

func (s *scope) outer(name string) (ref, bool) {
	if s.parent == nil {
		return ref{}, false
	}
	r, ok := s.parent.find(name)
	r.up++
	return r, ok
}

func (s *scope) load(name string) {
	if _, ok := s.find(name); !ok {
		s.define(name, asContext, ref{})
	}
}

func (s *scope) param(name string) {
	s.stores[name] = true
	s.define(name, asParam, ref{})
}

func (s *scope) store(name string) {
	s.stores[name] = true
	if s.refs[name] {
		return
	}
	if r, ok := s.outer(name); ok {
		s.define(name, asAlias, r)
		return
	}
	s.define(name, asUnset, ref{})
}

// branches analyses alternatives of which one runs. A name that only some of
// them store keeps the value from outside.
func (s *scope) branches(alternatives ...func()) {
	refs, stores := s.refs, s.stores
	count := map[string]int{}
	allRefs, allStores := copySet(refs), copySet(stores)
	for _, f := range alternatives {
		s.refs, s.stores = copySet(refs), copySet(stores)
		f()
		for n := range s.stores {
			if !stores[n] {
				count[n]++
			}
			allStores[n] = true
		}
		for n := range s.refs {
			allRefs[n] = true
		}
	}
	s.refs, s.stores = allRefs, allStores
	for n, c := range count {
		if c == len(alternatives) {
			continue
		}
		if r, ok := s.outer(n); ok {
			s.define(n, asAlias, r)
		} else {
			s.define(n, asContext, ref{})
		}
	}
}

func copySet(m map[string]bool) map[string]bool {
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// maxTree bounds the depth of the syntax tree, so that walking it cannot
// exhaust the stack.
const maxTree = 1000

// binder resolves the names below a scope.
type binder struct {
	scope *scope
	soft  bool // inside an if: unknown filters and tests fail when used
	depth int
}

func bind(body []stmt) (root *scope, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(syntax)
			if !ok {
				panic(r)
			}
			err = s.err
		}
	}()
	root = newScope(nil)
	a := analyser{scope: root}
	a.stmts(body)
	b := &binder{scope: root}
	b.stmts(body)
	return root, nil
}

// in runs f with a scope entered.
func (b *binder) in(s *scope, f func()) {
	old, soft := b.scope, b.soft
	b.scope, b.soft = s, false
	f()
	b.scope, b.soft = old, soft
}

func (b *binder) enter(at int) func() {
	if b.depth++; b.depth > maxTree {
		panic(syntax{&Error{Line: at, Err: limitErr("depth of an expression", maxTree)}})
	}
	return func() { b.depth-- }
}

// child makes a scope in which analyse has looked at the names.
func (b *binder) child(analyse func(a *analyser)) *scope {
	s := newScope(b.scope)
	analyse(&analyser{scope: s, depth: b.depth})
	return s
}

func (b *binder) stmts(list []stmt) {
	for _, s := range list {
		b.stmt(s)
	}
}

func (b *binder) stmt(s stmt) {
	defer b.enter(s.at())()
	switch s := s.(type) {
	case *printStmt:
		b.expr(s.x)
	case *ifStmt:
		soft := b.soft
		b.soft = true
		b.expr(s.test)
		b.stmts(s.body)
		for _, e := range s.elif {
			b.stmt(e)
		}
		b.stmts(s.els)
		b.soft = soft
	case *forStmt:
		b.forStmt(s)
	case *setStmt:
		b.expr(s.value)
		b.expr(s.target)
	case *setBlock:
		s.scope = b.child(func(a *analyser) { a.stmts(s.body); a.opt(s.filter) })
		b.in(s.scope, func() { b.stmts(s.body); b.opt(s.filter) })
		b.expr(s.target)
	case *withStmt:
		s.scope = b.child(func(a *analyser) { a.exprs(s.targets); a.stmts(s.body) })
		b.exprs(s.values)
		b.in(s.scope, func() { b.exprs(s.targets); b.stmts(s.body) })
	case *filterStmt:
		s.scope = b.child(func(a *analyser) { a.stmts(s.body); a.opt(s.filter) })
		b.in(s.scope, func() { b.stmts(s.body); b.opt(s.filter) })
	case *generationStmt:
		s.scope = b.child(func(a *analyser) { a.stmts(s.body) })
		b.in(s.scope, func() { b.stmts(s.body) })
	case *macroStmt:
		b.function(&s.sig, s.body, s.at())
		s.ref, _ = b.scope.find(s.name)
	case *callStmt:
		b.expr(s.call)
		b.function(&s.sig, s.body, s.at())
	}
}

func (b *binder) forStmt(s *forStmt) {
	usesLoop := s.recursive || uses(s.body, "loop")
	if usesLoop {
		s.loop = &nameExpr{pos: s.pos, name: "loop", use: param}
	}
	walk(s, func(n any) bool {
		if x, ok := n.(*nameExpr); ok && x.use == store && x.name == "loop" {
			panic(syntax{&Error{Line: x.at(), Err: fmt.Errorf("can't assign to special loop variable in for-loop")}})
		}
		return true
	})
	s.scope = b.child(func(a *analyser) {
		if usesLoop {
			a.scope.param("loop")
		}
		a.asParams(s.target)
		a.stmts(s.body)
	})
	if s.els != nil {
		s.elsScope = b.child(func(a *analyser) { a.stmts(s.els) })
	}
	if s.filter != nil {
		s.filterScope = b.child(func(a *analyser) { a.asParams(s.target); a.expr(s.filter) })
	}
	b.expr(s.iter)
	b.in(s.scope, func() {
		b.expr(s.target)
		if s.loop != nil {
			b.expr(s.loop)
		}
		b.stmts(s.body)
	})
	if s.els != nil {
		b.in(s.elsScope, func() { b.stmts(s.els) })
	}
	if s.filter != nil {
		b.in(s.filterScope, func() { b.expr(s.filter) })
	}
}

// function binds a macro or call block.
func (b *binder) function(sig *signature, body []stmt, line int) {
	sig.usesCaller = uses(body, "caller")
	for i, p := range sig.params {
		if p.name == "caller" {
			sig.explicitCaller = true
			if sig.usesCaller && i < len(sig.params)-len(sig.defaults) {
				panic(syntax{&Error{Line: line, Err: fmt.Errorf(
					`a "caller" argument must be omitted or given a default`)}})
			}
		}
	}
	hidden := func(name string) *nameExpr {
		for _, p := range sig.params {
			if p.name == name {
				return nil
			}
		}
		if !uses(body, name) {
			return nil
		}
		return &nameExpr{pos: pos(line), name: name, use: param}
	}
	sig.caller, sig.kwargs, sig.varargs = hidden("caller"), hidden("kwargs"), hidden("varargs")
	sig.scope = b.child(func(a *analyser) {
		for _, p := range sig.params {
			a.scope.param(p.name)
		}
		for _, p := range []*nameExpr{sig.caller, sig.kwargs, sig.varargs} {
			if p != nil {
				a.scope.param(p.name)
			}
		}
		a.exprs(sig.defaults)
		a.stmts(body)
	})
	b.in(sig.scope, func() {
		for _, p := range append([]*nameExpr{sig.caller, sig.kwargs, sig.varargs}, sig.params...) {
			if p != nil {
				b.expr(p)
			}
		}
		b.exprs(sig.defaults)
		b.stmts(body)
	})
}

func (b *binder) opt(x expr) {
	if x != nil {
		b.expr(x)
	}
}

func (b *binder) exprs(list []expr) {
	for _, x := range list {
		b.expr(x)
	}
}

func (b *binder) expr(x expr) {
	defer b.enter(x.at())()
	switch x := x.(type) {
	case *nameExpr:
		x.ref, _ = b.scope.find(x.name)
	case *nsExpr:
		x.ref, _ = b.scope.find(x.name)
	case *condExpr:
		soft := b.soft
		b.soft = true
		b.expr(x.test)
		b.expr(x.yes)
		b.opt(x.no)
		b.soft = soft
	case *filterExpr:
		if _, ok := filters[x.name]; !ok && !b.soft {
			panic(syntax{&Error{Line: x.at(), Err: fmt.Errorf("no filter named %q", x.name)}})
		}
		children(x, b.expr)
	case *testExpr:
		if _, ok := tests[x.name]; !ok && !b.soft {
			panic(syntax{&Error{Line: x.at(), Err: fmt.Errorf("no test named %q", x.name)}})
		}
		children(x, b.expr)
	default:
		children(x, b.expr)
	}
}
