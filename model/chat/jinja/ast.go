package jinja

// The syntax tree. Statements and expressions are separate types; a ref is
// filled in by the binder (bind.go) before anything runs.

type expr interface{ at() int }

type stmt interface{ at() int }

// pos is the line on which a node begins.
type pos int

func (p pos) at() int { return int(p) }

type use byte

const (
	load use = iota
	store
	param
)

// ref is a bound name: slot of the scope `up` levels out.
type ref struct{ up, slot int }

type (
	constExpr struct {
		pos
		val Value
	}
	nameExpr struct {
		pos
		name string
		use  use
		ref  ref
	}
	// nsExpr is the target ns.attr of an assignment.
	nsExpr struct {
		pos
		name, attr string
		ref        ref
	}
	tupleExpr struct {
		pos
		items []expr
	}
	listExpr struct {
		pos
		items []expr
	}
	dictExpr struct {
		pos
		keys, vals []expr
	}
	condExpr struct {
		pos
		test, yes, no expr // no: nil when absent
	}
	logicExpr struct { // and, or
		pos
		and         bool
		left, right expr
	}
	notExpr struct {
		pos
		x expr
	}
	compareExpr struct {
		pos
		first expr
		ops   []string
		rest  []expr
	}
	binExpr struct {
		pos
		op          string
		left, right expr
	}
	unaryExpr struct {
		pos
		op byte
		x  expr
	}
	concatExpr struct {
		pos
		items []expr
	}
	attrExpr struct {
		pos
		x    expr
		name string
	}
	itemExpr struct {
		pos
		x, key expr
	}
	sliceExpr struct { // only as the key of an itemExpr
		pos
		start, stop, step expr // nil when absent
	}
	callExpr struct {
		pos
		fn   expr
		args arguments
	}
	filterExpr struct {
		pos
		x    expr // nil: the body of a filter block or block set
		name string
		args arguments
	}
	testExpr struct {
		pos
		x    expr
		name string
		args arguments
	}
)

type arguments struct {
	pos    []expr
	names  []string
	named  []expr
	star   expr // *args
	kwstar expr // **kwargs
}

type (
	textStmt struct {
		pos
		text string
	}
	printStmt struct {
		pos
		x expr
	}
	ifStmt struct {
		pos
		test expr
		body []stmt
		elif []*ifStmt
		els  []stmt
	}
	forStmt struct {
		pos
		target    expr
		iter      expr
		filter    expr // nil when absent
		recursive bool
		body, els []stmt

		loop            *nameExpr // the loop variable; nil when the body does not use it
		scope, elsScope *scope
		filterScope     *scope
	}
	setStmt struct {
		pos
		target, value expr
	}
	setBlock struct {
		pos
		target expr
		filter expr // nil when absent
		body   []stmt
		scope  *scope
	}
	withStmt struct {
		pos
		targets, values []expr
		body            []stmt
		scope           *scope
	}
	filterStmt struct {
		pos
		filter expr
		body   []stmt
		scope  *scope
	}
	generationStmt struct {
		pos
		body  []stmt
		scope *scope
	}
	macroStmt struct {
		pos
		name string
		ref  ref
		sig  signature
		body []stmt
	}
	callStmt struct {
		pos
		call *callExpr
		sig  signature
		body []stmt
	}
	breakStmt    struct{ pos }
	continueStmt struct{ pos }
)

// signature is the parameter list of a macro or call block with its scope.
type signature struct {
	params   []*nameExpr
	defaults []expr // of the last params

	scope                   *scope
	caller, kwargs, varargs *nameExpr // non-nil when the body uses them
	usesCaller              bool
	explicitCaller          bool // caller is among params
}
