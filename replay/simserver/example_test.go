package simserver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"wattrace/replay/simserver"
)

// A server that reports what its batch does, here a hundred times too fast.
func Example() {
	prefill, decode := 0, 0
	server, err := simserver.New(simserver.Options{
		Seed: 1, Speed: 100,
		OnStep: func(s simserver.Step) { prefill, decode = prefill+s.PrefillTokens, decode+s.DecodeTokens },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { server.Run(ctx) })
	listener := httptest.NewServer(server)

	r, err := http.Post(listener.URL+"/v1/completions", "application/json",
		strings.NewReader(`{"prompt":[1,2,3],"max_tokens":5,"ignore_eos":true}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, _ := io.ReadAll(r.Body)
	r.Body.Close()
	listener.Close()
	cancel()
	running.Wait()

	_, usage, _ := strings.Cut(string(answer), `"usage":`)
	fmt.Println(strings.TrimSuffix(usage, "}"))
	fmt.Println(prefill, "tokens fed,", decode, "decoded after the first")
	// Output:
	// {"prompt_tokens":3,"total_tokens":8,"completion_tokens":5}
	// 3 tokens fed, 4 decoded after the first
}
