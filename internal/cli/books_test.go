package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment"
)

func TestFiguresThatAreNotFinalAreMarked(t *testing.T) {
	var units inference.Units
	units[inference.LineDecode] = 60
	u := payment.Usage{Rows: []payment.Row{
		{Day: "2026-01-01", Model: "settled", Sessions: 1, Units: units},
		{Day: "2026-01-02", Model: "open", Sessions: 2, Unsettled: 1, Units: units},
	}}
	for bound, sign := range map[string]string{BoundUpper: "≤", BoundLower: "≥"} {
		var out strings.Builder
		PrintUsage(&out, u, Books{Party: "node", Bound: bound})
		for line := range strings.Lines(out.String()) {
			marked := strings.Count(line, sign)
			switch {
			case strings.Contains(line, "settled") && strings.Contains(line, "│ 2026"):
				if marked != 0 {
					t.Errorf("marked: %s", line)
				}
			case strings.Contains(line, "open "), strings.Contains(line, " 120 "):
				if marked != 2 {
					t.Errorf("not marked: %s", line)
				}
			}
		}
		if !strings.Contains(out.String(), "\n"+sign+" Unsettled sessions count with") {
			t.Errorf("no footnote:\n%s", out.String())
		}
		b, err := json.Marshal(usageOf(u, bound))
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Rows []map[string]any `json:"rows"`
		}
		if err := json.Unmarshal(b, &read); err != nil || read.Rows[0]["bound"] != nil || read.Rows[1]["bound"] != bound || read.Rows[1]["unsettled"] != 1.0 {
			t.Errorf("%v, %s", err, b)
		}
	}
	var out strings.Builder
	PrintUsage(&out, payment.Usage{Rows: u.Rows[:1]}, Books{Bound: BoundUpper})
	if strings.ContainsAny(out.String(), "≤≥") {
		t.Errorf("all is settled:\n%s", out.String())
	}
}
