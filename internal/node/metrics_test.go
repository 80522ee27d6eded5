package node

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestHealthAnswersBeforeTheNodeServes(t *testing.T) {
	m, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + m.addr()
	if code, _ := get(t, url+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d", code)
	}
	if code, _ := get(t, url+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("readyz of a node that loads: %d", code)
	}
	m.up.Store(true)
	if code, _ := get(t, url+"/readyz"); code != http.StatusOK {
		t.Errorf("readyz of a node that serves: %d", code)
	}
	m.passes.Inc()
	if _, text := get(t, url+"/metrics"); !strings.Contains(text, "farlabs_passes_total 1") {
		t.Error("metrics lack the passes")
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url + "/healthz"); err == nil {
		t.Error("a closed server answers")
	}
}

func TestMetricsAddressInUseSaysSo(t *testing.T) {
	m, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if _, err := listenMetrics(m.addr()); err == nil || !strings.Contains(err.Error(), "--metrics") {
		t.Errorf("error %v", err)
	}
}

func TestRatesAreAnnouncedAgainWhenTheyMove(t *testing.T) {
	for _, c := range []struct {
		announced, now float64
		want           bool
	}{{1, 1.2, false}, {1, 1.3, true}, {1, 0.9, false}, {1, 0.7, true}, {1, 0, false}, {0, 1, true}} {
		if got := moved(c.announced, c.now); got != c.want {
			t.Errorf("announced %v, now %v: %v", c.announced, c.now, got)
		}
	}
}
