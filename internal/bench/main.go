package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/farlabs/inference/internal/bench/ceiling"
	"github.com/farlabs/inference/internal/bench/synthetic"
	"github.com/farlabs/inference/model/catalog"
)

// groups are the rows that can be asked for, in the order in which they run.
var groups = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"decode", (*bench).decode},
	{"prefill", (*bench).prefill},
	{"depth", (*bench).depth},
	{"start", (*bench).start},
	{"memory", (*bench).memory},
	{"busy", (*bench).busy},
	{"http", (*bench).http},
	{"nodes", (*bench).nodes},
	{"accuracy", (*bench).accuracy},
}

// bench is one run.
type bench struct {
	rounds  int
	only    []string // parts of names of models; empty: all
	bin     string   // folder of start_node and farclient
	peer    peer
	dir     string // of this run, removed at its end
	self    string // this program
	smol    file
	q8, q4  file // 1.1B
	ceiling *ceiling.Memory
	rows    []row
	log     func(format string, args ...any)
}

// file is a model.
type file struct{ name, path string }

// wants reports whether a model is to be measured.
func (b *bench) wants(m file) bool {
	return len(b.only) == 0 || slices.ContainsFunc(b.only, func(part string) bool { return strings.Contains(m.name, part) })
}

// models returns those of the list that are to be measured.
func (b *bench) models(list ...file) (wanted []file) {
	for _, m := range list {
		if b.wants(m) {
			wanted = append(wanted, m)
		}
	}
	return wanted
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2:]))
	}
	ok, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run() (ok bool, err error) {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	rows := flag.String("rows", "", "rows to measure, of "+strings.Join(names, ","))
	models := flag.String("models", "", "models to measure, by a part of their names such as SmolLM2,Q4_0; default: all")
	quick := flag.Bool("quick", false, "two rounds")
	rounds := flag.Int("rounds", 5, "rounds of every row")
	bin := flag.String("bin", "bin", "folder of start_node and farclient")
	llama := flag.String("llamacpp", "", "folder of llama.cpp's programs; see scripts/llamacpp.sh --path")
	report := flag.String("report", "", "file whose section is written when every row has been measured")
	flag.Parse()
	b := &bench{rounds: *rounds, log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	if *quick {
		b.rounds = 2
	}
	if *models != "" {
		b.only = strings.Split(*models, ",")
	}
	chosen := names
	if *rows != "" {
		chosen = strings.Split(*rows, ",")
	}
	for _, c := range chosen {
		if !slices.Contains(names, c) {
			return false, fmt.Errorf("no row %q; there are %s", c, strings.Join(names, ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.prepare(ctx, *bin, *llama); err != nil {
		return false, err
	}
	defer os.RemoveAll(b.dir)
	for _, g := range groups {
		if !slices.Contains(chosen, g.name) {
			continue
		}
		if err := g.measure(b, ctx); err != nil {
			return false, errors.Join(fmt.Errorf("%s: %w", g.name, err), context.Cause(ctx))
		}
	}
	head := b.headline()
	fmt.Printf("\n%s\n%s", head, table(b.rows))
	if *report != "" && len(chosen) == len(names) && len(b.only) == 0 {
		if err := replaceSection(*report, sectionTitle, head+"\n"+table(b.rows)); err != nil {
			return false, err
		}
	}
	return !slices.ContainsFunc(b.rows, row.missed), nil
}

// prepare finds the programs and the models.
func (b *bench) prepare(ctx context.Context, bin, llama string) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(b.bin, "start_node")); err != nil {
		return fmt.Errorf("%w; run: make build", err)
	}
	if b.peer, err = newPeer(llama); err != nil {
		return err
	}
	smol, err := catalog.Resolve("smollm2-135m-instruct", catalog.CacheDir())
	if err != nil {
		return err
	}
	b.smol = file{"SmolLM2 Q4_1", smol.Path}
	for _, m := range []struct {
		file  *file
		name  string
		model synthetic.Model
	}{{&b.q8, "1.1B Q8_0", synthetic.Llama1BQ8}, {&b.q4, "1.1B Q4_0", synthetic.Llama1BQ4}} {
		path, err := synthetic.Ensure(filepath.Join(catalog.CacheDir(), "bench"), m.model)
		if err != nil {
			return err
		}
		*m.file = file{m.name, path}
	}
	if b.dir, err = os.MkdirTemp("", "farlabs-bench-"); err != nil {
		return err
	}
	return b.peer.describe(ctx, b.smol)
}

// ceilings measures what the machine can do in a second with threads. The
// memory is many times the caches, and made once.
func (b *bench) ceilings(threads int) (stream, integer float64) {
	if b.ceiling == nil {
		b.ceiling = ceiling.NewMemory(512 << 20)
	}
	stream = b.ceiling.Stream(threads, 3)
	integer, _ = ceiling.Integer(threads, 5)
	return stream, integer
}
