// Command vector writes the assembly of the ops on vectors: elementwise, norm,
// rope, logits and the pause of device. The flag -pkg names the family; see the
// go:generate line of each.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func main() {
	flag.Parse()
	families := map[string]func(){
		"device":      pause,
		"elementwise": elementwise,
		"norm":        norm,
		"rope":        rope,
		"logits":      logits,
	}
	name := flag.Lookup("pkg").Value.String()
	write, ok := families[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "vector: no family %q\n", name)
		os.Exit(2)
	}
	ConstraintExpr("amd64,!purego")
	write()
	Generate()
}

// pause writes the wait of a spinning worker.
func pause() {
	TEXT("pause", attr.NOSPLIT, "func(n uint32)")
	Pragma("noescape")
	Doc("pause executes PAUSE n times, n > 0.")
	n := Load(Param("n"), GP32())
	Label("again")
	PAUSE()
	DECL(n)
	JNZ(LabelRef("again"))
	RET()
}
