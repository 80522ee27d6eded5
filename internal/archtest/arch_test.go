package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/farlabs/inference"

// arrows says what each package may import of this module, "." being the root
// package, which everyone may import. "x/..." stands for x and all below it.
// The most specific entry counts.
var arrows = map[string][]string{
	".":                      {},
	"kernels":                {},
	"kernels/tensor":         {},
	"kernels/canon":          {},
	"kernels/quant":          {"kernels/tensor"},
	"kernels/device":         {"kernels/tensor"},
	"kernels/matmul":         {"kernels/tensor", "kernels/device", "kernels/canon", "kernels/quant"},
	"kernels/attention":      {"kernels/tensor", "kernels/device", "kernels/canon", "kernels/quant"},
	"kernels/norm":           {"kernels/tensor", "kernels/device", "kernels/canon"},
	"kernels/rope":           {"kernels/tensor", "kernels/device", "kernels/canon"},
	"kernels/elementwise":    {"kernels/tensor", "kernels/device", "kernels/canon", "kernels/quant"},
	"kernels/logits":         {"kernels/device"},
	"kernels/kerneltest":     {"kernels/..."},
	"model/arch":             {},
	"model/weights":          {"kernels/tensor", "kernels/quant"},
	"model/weights/gguftest": {"kernels/tensor", "kernels/quant"},
	"model":                  {"kernels/...", "model/arch", "model/weights"},
	"model/modeltest":        {"model/weights", "model/weights/gguftest", "kernels/tensor"},
	"model/tokenizer":        {},
	"model/chat":             {"model/chat/..."},
	"model/chat/jinja":       {},
	"model/sample":           {"kernels/logits"},
	"model/catalog":          {"model/weights"},
	"farnet":                 {},
	"payment":                {"payment/..."},
	"payment/pricing":        {},
	"payment/journal":        {},
	"rating":                 {},
	"pipeline/wire":          {"kernels/tensor", "kernels/elementwise"},
	"pipeline/link":          {"kernels/tensor", "pipeline/wire"},
	"pipeline/link/linktest": {"pipeline/link", "pipeline/wire", "kernels/tensor"},
	"pipeline/transport":     {"farnet", "pipeline/link", "pipeline/wire"},
	"pipeline/route":         {},
	"pipeline/stage":         {"kernels/...", "model", "model/sample", "pipeline/wire", "pipeline/link"},
	"pipeline":               {"kernels/...", "model", "model/...", "pipeline/wire", "pipeline/route", "pipeline/link", "farnet", "payment/...", "rating", "pipeline/transport"},
	"gateway":                {"pipeline", "pipeline/...", "model/...", "payment/pricing", "gateway/..."},
	"internal/archtest":      {},
	"internal":               {"..."},
	"cmd":                    {"..."},
}

// doors names the only packages that may import what begins with the prefix.
var doors = map[string][]string{
	"github.com/libp2p/":       {"farnet"},
	"github.com/multiformats/": {"farnet"},
	"github.com/ethereum/":     {"payment/settle", "payment/contracts"},
	"net/http":                 {"gateway", "gateway/...", "cmd/...", "internal/..."},
	"github.com/spf13/cobra":   {"cmd/...", "internal/..."},
	"github.com/prometheus/":   {"internal/...", "cmd/..."},
}

type pkg struct {
	ImportPath        string
	Dir               string
	Imports           []string
	TestImports       []string
	GoFiles, CgoFiles []string
	IgnoredGoFiles    []string
}

func (p pkg) rel() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,TestImports,GoFiles,CgoFiles,IgnoredGoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("go list found %d packages, there are more", len(all))
	}
	return all
}

// matches reports whether rel is covered by one of the patterns.
func matches(patterns []string, rel string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == "..." {
			return true
		}
		if base, ok := strings.CutSuffix(p, "/..."); ok {
			return rel == base || strings.HasPrefix(rel, base+"/")
		}
		return rel == p
	})
}

// rule returns the entry for rel, or for the nearest folder above that has one.
func rule(rel string) ([]string, bool) {
	for p := rel; ; p = filepath.Dir(p) {
		if r, ok := arrows[p]; ok && (p != "." || rel == ".") {
			return r, true
		}
		if p == "." || p == "/" {
			return nil, false
		}
	}
}

func TestArrowsPointOneWay(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := rule(p.rel())
		if !ok {
			t.Errorf("%s has no entry in arrows: decide what it may import", p.rel())
			continue
		}
		for _, i := range p.Imports {
			rel, own := strings.CutPrefix(i, module+"/")
			if !own {
				continue
			}
			if !matches(allowed, rel) && !strings.HasPrefix(p.rel(), rel+"/") {
				t.Errorf("%s imports %s; it may import %v", p.rel(), rel, allowed)
			}
		}
	}
}

func TestNoTwoFoldersImportEachOther(t *testing.T) {
	imports := map[[2]string]string{}
	for _, p := range packages(t) {
		from := top(p.rel())
		for _, i := range p.Imports {
			if rel, own := strings.CutPrefix(i, module+"/"); own && top(rel) != from {
				imports[[2]string{from, top(rel)}] = p.rel() + " imports " + rel
			}
		}
	}
	for pair, why := range imports {
		if back, ok := imports[[2]string{pair[1], pair[0]}]; ok && pair[0] < pair[1] {
			t.Errorf("%s, and %s", why, back)
		}
	}
}

func top(rel string) string {
	first, rest, _ := strings.Cut(rel, "/")
	if first == "internal" {
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

func TestForeignWorldsHaveOneDoor(t *testing.T) {
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			for prefix, allowed := range doors {
				if (i == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(i, prefix)) && !matches(allowed, p.rel()) {
					t.Errorf("%s imports %s, which only %v may", p.rel(), i, allowed)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		doc := ""
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			doc += f.Doc.Text()
		}
		if n := strings.Count(doc, "\n"); n < 3 || n > 80 {
			t.Errorf("%s: package doc of %d lines, want 3 to 80: what goes in and out, what it owns, what it knows nothing of", p.rel(), n)
		}
	}
}

// TestOnlyTheCUDADeviceNeedsCgo parses every Go file, those of other systems
// and tags too.
func TestOnlyTheCUDADeviceNeedsCgo(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
			path := filepath.Join(p.Dir, name)
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"C"` }) && p.rel() != "kernels/device" {
				t.Errorf("%s imports C", path)
			}
		}
	}
}

// TestTextsKeepToTheProject looks for what must not be committed: paths of a
// machine, and marks of unfinished work.
func TestTextsKeepToTheProject(t *testing.T) {
	root := filepath.Join("..", "..")
	out, err := exec.Command("git", "-C", root, "ls-files").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	// Put together here so that this file does not find itself.
	bad := []string{"TO" + "DO", "FIX" + "ME", "/home" + "/", "/root" + "/", "/work" + "/", "/tmp" + "/"}
	for _, name := range strings.Fields(string(out)) {
		if strings.Contains(name, "testdata/") || strings.HasSuffix(name, ".sum") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range bad {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s contains %q", name, s)
			}
		}
	}
}
