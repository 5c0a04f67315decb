package replay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"wattrace/trace"
)

func TestOverlay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ set, body, want string }{
		{"stream=true", `{}`, `{"stream":true}`},
		{"stream=true", "{ \t}", "{\"stream\":true \t}"},
		{"stream=true", `{"a":1}`, `{"a":1,"stream":true}`},
		{"stream=true", `{"a":1 , "b" : [ ] }`, `{"a":1 , "b" : [ ],"stream":true }`},
		{"stream=true", `{"stream":false}`, `{"stream":true}`},
		{"stream=true", "{ \"stream\"\t: false ,\"t\": 1.0e0}", "{ \"stream\"\t: true ,\"t\": 1.0e0}"},
		{"stream=true", `{"stream":1,"x":"stream","stream" : null}`, `{"stream":true,"x":"stream","stream" : true}`},
		{"stream=true", `{"str\u0065am":0}`, `{"str\u0065am":true}`},
		{"stream=true", `{"a":{"stream":false},"b":["stream",{"stream":1}]}`, `{"a":{"stream":false},"b":["stream",{"stream":1}],"stream":true}`},
		{"stream=true", ` {"a":1} `, ` {"a":1,"stream":true} `},
		{"a=2", `{"a":{"x":[1,{"a":"}"}]},"n":12345678901234567890,"f":1.0e0,"d":1,"d":2}`, `{"a":2,"n":12345678901234567890,"f":1.0e0,"d":1,"d":2}`},
		{`stream_options={"include_usage":true}`, `{"model":"m"}`, `{"model":"m","stream_options":{"include_usage":true}}`},
		{`seed=9007199254740993`, `{"seed":1}`, `{"seed":9007199254740993}`},
		{`t=1.0e0`, `{"t":1}`, `{"t":1.0e0}`},
		{`o={ "a" : 1 }`, `{"o":1}`, `{"o":{ "a" : 1 }}`},
		{"model=my-model", `{"model":"x"}`, `{"model":"my-model"}`},
		{"model=/models/Llama-3.1_8B:fp8", `{"model":"x"}`, `{"model":"/models/Llama-3.1_8B:fp8"}`},
		{`model="a=b,c"`, `{"model":"x"}`, `{"model":"a=b,c"}`},
		{`q"k=1`, `{}`, `{"q\"k":1}`},
	} {
		o, err := ParseOverlay(test.set)
		if err != nil {
			t.Errorf("%s: %v", test.set, err)
			continue
		}
		got, err := o.Apply([]byte("kept"), []byte(test.body))
		if err != nil || string(got) != "kept"+test.want {
			t.Errorf("%s on %s: %s, %v; want %s", test.set, test.body, got, err, test.want)
		}
		if o.String() != test.set {
			t.Errorf("%s became %s", test.set, o)
		}
	}
}

func TestParseOverlayErrors(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"stream":       "want KEY=JSON",
		"=1":           "want KEY=JSON",
		"":             "want KEY=JSON",
		" a=1":         `there is white space around the key " a"`,
		"stream=True":  "True is not JSON (JSON has true, false and null)",
		"stream=":      "the value of stream is neither JSON nor one word",
		"a={b:1}":      "the value of a is neither JSON nor one word",
		"a=01":         "the value of a is neither JSON nor one word",
		"a=two words":  "the value of a is neither JSON nor one word",
		"a=[1,2":       "the value of a is neither JSON nor one word",
		"a={\"b\":1}}": "the value of a is neither JSON nor one word",
		"\xff=1":       "the key is not UTF-8",
	} {
		if _, err := ParseOverlay(set); err == nil || err.Error() != want {
			t.Errorf("%q: %v, not %s", set, err, want)
		}
	}
}

func TestOverlayOfWhatIsNoObject(t *testing.T) {
	t.Parallel()
	o, err := ParseOverlay("a=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{``, `[]`, `{`, `{"b"}`, `{"b":1`, `{"b":1,}`, `{"b":1 2}`} {
		if got, err := o.Apply(nil, []byte(body)); err == nil {
			t.Errorf("%s became %s", body, got)
		}
	}
}

// TestOverlayTouchesNothingElse builds bodies of known pieces, so that what must
// come out is known without parsing.
func TestOverlayTouchesNothingElse(t *testing.T) {
	t.Parallel()
	space := rapid.SampledFrom([]string{"", " ", "\t", "  \n ", "\r\n"})
	keys := rapid.SampledFrom([]string{`"k"`, `"a"`, `"\u006b"`, `"b"`, `""`, `"k "`})
	values := rapid.SampledFrom([]string{`1`, `1.0e0`, `-0`, `12345678901234567890`, `"k"`, `"\"k\":"`, `{"k":1}`, `[{"k":[]}]`, `null`, `true`, `"é\ud83d\ude00"`, `{}`})
	rapid.Check(t, func(t *rapid.T) {
		o, err := ParseOverlay(`k={"new": [1]}`)
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(0, 6).Draw(t, "members")
		body, want := space.Draw(t, "before")+"{", ""
		want = body
		found := false
		end := space.Draw(t, "end") + "}" + space.Draw(t, "after")
		for i := range n {
			head := space.Draw(t, "s1") + keys.Draw(t, "key") + space.Draw(t, "s2") + ":" + space.Draw(t, "s3")
			value := values.Draw(t, "value")
			tail := ""
			if i < n-1 {
				tail = space.Draw(t, "s4") + ","
			}
			body += head + value + tail
			if k := strings.TrimSpace(strings.SplitN(head, ":", 2)[0]); k == `"k"` || k == `"\u006b"` {
				found, value = true, `{"new": [1]}`
			}
			want += head + value + tail
		}
		if !found {
			if n > 0 {
				want += ","
			}
			want += `"k":{"new": [1]}`
		}
		got, err := o.Apply(nil, []byte(body+end))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want+end {
			t.Errorf("%q\nbecame %q\nnot    %q", body+end, got, want+end)
		}
		if !json.Valid(got) {
			t.Errorf("not JSON: %s", got)
		}
	})
}

func TestApplyAll(t *testing.T) {
	t.Parallel()
	var overlays []Overlay
	for _, s := range []string{"stream=true", "model=m", "stream=false", "a=1"} {
		o, err := ParseOverlay(s)
		if err != nil {
			t.Fatal(err)
		}
		overlays = append(overlays, o)
	}
	var buffers [2][]byte
	for range 2 {
		got, err := applyAll(overlays, []byte(`{"a":0}`), &buffers)
		if want := `{"a":1,"stream":false,"model":"m"}`; err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	body := []byte(`{}`)
	if got, err := applyAll(nil, body, &buffers); err != nil || &got[0] != &body[0] {
		t.Error("without overlays the body itself is sent")
	}
}

// TestCacheSalt checks that each request has a salt of its own, the same in every
// run of a seed, that goes with the overlays, and that it is logged.
func TestCacheSalt(t *testing.T) {
	seen := map[string]bool{}
	for _, seed := range []int64{0, 1, 7, -1} {
		for seq := range int64(5000) {
			seen[cacheSalt(seed, seq)] = true
		}
	}
	if len(seen) != 20000 {
		t.Errorf("%d salts for 20000 requests", len(seen))
	}
	for n := range 4 { // overlays
		synctest.Test(t, func(t *testing.T) {
			f := &fakeServer{latency: every(time.Second)}
			opt := Options{
				Turns: plainTurns(3), Targets: []Target{target(t, "http://server")}, CacheSalt: trace.Some[int64](7),
				Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1, Requests: 4}}},
				Client: ClientOptions{Transport: f},
			}
			for i := range n {
				o, err := ParseOverlay(fmt.Sprintf("k%d=%d", i, i))
				if err != nil {
					t.Fatal(err)
				}
				opt.Overlays = append(opt.Overlays, o)
			}
			e, err := New(opt)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{}
			if _, err := e.Run(t.Context(), nil, s); err != nil {
				t.Fatal(err)
			}
			for i, q := range s.requests {
				want := cacheSalt(7, int64(i))
				var body struct {
					Salt string `json:"cache_salt"`
					K0   *int
					K2   *int
				}
				_, sent, _ := strings.Cut(f.requests[i], " ")
				if err := json.Unmarshal([]byte(sent), &body); err != nil {
					t.Fatal(err)
				}
				if q.CacheSalt != want || body.Salt != want || (body.K0 != nil) != (n > 0) || (body.K2 != nil) != (n > 2) {
					t.Errorf("%d overlays: salt %q in the log, sent %s", n, q.CacheSalt, sent)
				}
				if q.BodyHash != trace.Some(xxh3.HashString(sent)) {
					t.Errorf("the hash is not that of %s", sent)
				}
			}
		})
	}
	// A salt of the trace's own is replaced.
	var buffers [2][]byte
	e := &Engine{opt: Options{CacheSalt: trace.Some[int64](1)}}
	var q trace.Request
	if got, err := e.body([]byte(`{"cache_salt":"x","a":1}`), &q, &buffers); err != nil || string(got) != `{"cache_salt":"`+q.CacheSalt+`","a":1}` {
		t.Errorf("%s, %v", got, err)
	}
}
