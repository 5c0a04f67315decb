package simserver

import (
	"fmt"
	"net/http"

	"wattrace/trace"
)

// generate is SGLang's own endpoint (K): text or input_ids, and sampling_params
// with max_new_tokens, min_new_tokens and ignore_eos. Each event holds all of
// the text so far, and meta_info the counts.
func (s *Server) generate(w http.ResponseWriter, r *http.Request) {
	data, ok := s.readBody(w, r)
	if !ok {
		return
	}
	req, fault := s.opt.readGenerate(data)
	if fault != nil {
		s.fault(w, fault)
		return
	}
	s.serve(w, r, req)
}

// readGenerate turns a body of /generate into one of a completion.
func (o *Options) readGenerate(data []byte) (*request, *apiError) {
	b, fault := parseBody(data)
	if fault != nil {
		return nil, fault
	}
	given := body{}
	for from, to := range map[string]string{"text": "prompt", "input_ids": "prompt", "stream": "stream"} {
		if b.has(from) {
			given[to] = b[from]
		}
	}
	if b.has("sampling_params") {
		params := body{}
		err := trace.WalkObject(b["sampling_params"].Value, func(m trace.Member) error {
			params[string(m.Name)] = m
			return nil
		})
		if err != nil {
			return nil, badForm("sampling_params", "sampling_params must be an object")
		}
		for from, to := range map[string]string{"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens", "ignore_eos": "ignore_eos", "n": "n"} {
			if params.has(from) {
				given[to] = params[from]
			}
		}
	}
	rules := *dialects[o.Dialect].rules()
	rules.completion = 128 // max_new_tokens without it
	req, fault := o.readBodyOf(given, trace.Completions, &rules)
	if req != nil {
		req.native = true
	}
	return req, fault
}

// nativeToken appends the event of token i.
func (s sglang) nativeToken(b []byte, a *answer, i int) []byte {
	b = append(b, "data: "...)
	return append(s.native(b, a, i+1), "\n\n"...)
}

// native appends the answer of /generate with so many tokens.
func (s sglang) native(b []byte, a *answer, tokens int) []byte {
	b = append(b, `{"text":`...)
	b = a.appendAll(b, 0, tokens)
	b = append(b, `,"output_ids":[`...)
	for i := range tokens {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, mix(a.words+uint64(i))%uint64(len(vocabulary)))
	}
	b = append(b, `],"meta_info":`...)
	return append(s.meta(b, a, tokens), '}')
}
