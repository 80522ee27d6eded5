package jinja

// analyser looks at the names of one scope, in jinja2's order, without going
// into the scopes below.
type analyser struct {
	scope *scope
	depth int
}

func (a *analyser) stmts(list []stmt) {
	for _, s := range list {
		a.stmt(s)
	}
}

func (a *analyser) stmt(s stmt) {
	switch s := s.(type) {
	case *printStmt:
		a.expr(s.x)
	case *ifStmt:
		a.expr(s.test)
		a.scope.branches(
			func() { a.stmts(s.body) },
			func() {
				for _, e := range s.elif {
					a.stmt(e)
				}
			},
			func() { a.stmts(s.els) },
		)
	case *forStmt:
		a.expr(s.iter)
	case *setStmt:
		a.expr(s.value)
		a.expr(s.target)
	case *setBlock:
		a.expr(s.target)
	case *withStmt:
		a.exprs(s.values)
	case *macroStmt:
		a.scope.store(s.name)
	case *callStmt:
		a.expr(s.call)
	}
}

func (a *analyser) opt(x expr) {
	if x != nil {
		a.expr(x)
	}
}

func (a *analyser) exprs(list []expr) {
	for _, x := range list {
		a.expr(x)
	}
}

func (a *analyser) expr(x expr) {
	if a.depth++; a.depth > 2*maxTree {
		panic(syntax{&Error{Line: x.at(), Err: limitErr("depth of an expression", maxTree)}})
	}
	switch x := x.(type) {
	case *nameExpr:
		switch x.use {
		case load:
			a.scope.load(x.name)
		case store:
			a.scope.store(x.name)
		default:
			a.scope.param(x.name)
		}
	case *nsExpr:
		a.scope.load(x.name)
	default:
		children(x, a.expr)
	}
	a.depth--
}

// asParams declares the targets of a loop.
func (a *analyser) asParams(x expr) {
	switch x := x.(type) {
	case *nameExpr:
		a.scope.param(x.name)
	case *tupleExpr:
		for _, it := range x.items {
			a.asParams(it)
		}
	default:
		a.expr(x)
	}
}

// children calls f with the expressions directly below x, in jinja2's order.
func children(x expr, f func(expr)) {
	each := func(list ...expr) {
		for _, x := range list {
			if x != nil {
				f(x)
			}
		}
	}
	args := func(a *arguments) {
		each(a.pos...)
		each(a.named...)
		each(a.star, a.kwstar)
	}
	switch x := x.(type) {
	case *tupleExpr:
		each(x.items...)
	case *listExpr:
		each(x.items...)
	case *dictExpr:
		for i := range x.keys {
			each(x.keys[i], x.vals[i])
		}
	case *condExpr:
		each(x.test, x.yes, x.no)
	case *logicExpr:
		each(x.left, x.right)
	case *notExpr:
		each(x.x)
	case *compareExpr:
		each(x.first)
		each(x.rest...)
	case *binExpr:
		each(x.left, x.right)
	case *unaryExpr:
		each(x.x)
	case *concatExpr:
		each(x.items...)
	case *attrExpr:
		each(x.x)
	case *itemExpr:
		each(x.x, x.key)
	case *sliceExpr:
		each(x.start, x.stop, x.step)
	case *callExpr:
		each(x.fn)
		args(&x.args)
	case *filterExpr:
		each(x.x)
		args(&x.args)
	case *testExpr:
		each(x.x)
		args(&x.args)
	}
}

// walk visits every node below root, depth first, in jinja2's order, until f
// answers false.
func walk(root any, f func(n any) bool) bool {
	list := func(l []stmt) bool {
		for _, s := range l {
			if !walk(s, f) {
				return false
			}
		}
		return true
	}
	exprs := func(l ...expr) bool {
		for _, x := range l {
			if x != nil && !walk(x, f) {
				return false
			}
		}
		return true
	}
	sig := func(s *signature) bool {
		for _, p := range s.params {
			if !f(p) {
				return false
			}
		}
		return exprs(s.defaults...)
	}
	if !f(root) {
		return false
	}
	switch s := root.(type) {
	case *printStmt:
		return exprs(s.x)
	case *ifStmt:
		if !exprs(s.test) || !list(s.body) {
			return false
		}
		for _, e := range s.elif {
			if !walk(e, f) {
				return false
			}
		}
		return list(s.els)
	case *forStmt:
		return exprs(s.target, s.iter) && list(s.body) && list(s.els) && exprs(s.filter)
	case *setStmt:
		return exprs(s.target, s.value)
	case *setBlock:
		return exprs(s.target, s.filter) && list(s.body)
	case *withStmt:
		return exprs(s.targets...) && exprs(s.values...) && list(s.body)
	case *filterStmt:
		return list(s.body) && exprs(s.filter)
	case *generationStmt:
		return list(s.body)
	case *macroStmt:
		return sig(&s.sig) && list(s.body)
	case *callStmt:
		return walk(s.call, f) && sig(&s.sig) && list(s.body)
	case expr:
		ok := true
		children(s, func(x expr) { ok = ok && walk(x, f) })
		return ok
	}
	return true
}

// uses reports whether body reads name before storing it.
func uses(body []stmt, name string) bool {
	found := false
	for _, s := range body {
		if !walk(s, func(n any) bool {
			if x, ok := n.(*nameExpr); ok && x.name == name {
				found = x.use == load
				return false
			}
			return true
		}) {
			break
		}
	}
	return found
}
