package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestCompletionTellsFirstAndLastToken(t *testing.T) {
	const pause = 20 * time.Millisecond
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			time.Sleep(pause)
			fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\"%d\"}]}\n\n", i)
			w.(http.Flusher).Flush()
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	defer s.Close()
	m, err := completion(t.Context(), s.URL, "x", 3)
	if err != nil {
		t.Fatal(err)
	}
	if m.first < pause || m.last-m.first < 2*pause-pause/2 {
		t.Errorf("first %v, last %v", m.first, m.last)
	}
}

func TestCompletionTellsErrors(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"status": func(w http.ResponseWriter) { http.Error(w, "busy", http.StatusServiceUnavailable) },
		"event":  func(w http.ResponseWriter) { fmt.Fprint(w, "data: {\"error\":{\"message\":\"no route\"}}\n\n") },
		"silent": func(w http.ResponseWriter) { fmt.Fprint(w, "data: [DONE]\n\n") },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		if _, err := completion(t.Context(), s.URL, "x", 3); err == nil {
			t.Errorf("%s: taken for an answer", name)
		}
		s.Close()
	}
}
