//go:build ignore

// Generate writes azure200.jsonl, a trtllm-bench dataset with the lengths of a
// real trace, from azure200.csv. Run it in its directory:
//
//	go run generate.go
//
// Row i of the dataset has the lengths of row i of the CSV, each divided by 8
// and at least 1. Even rows have a text, odd ones token ids, every other of
// those under the older name "logits" and with a string as task_id. The same
// input gives the same bytes everywhere.
package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	in, err := os.Open("azure200.csv")
	if err != nil {
		log.Fatal(err)
	}
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	if len(os.Args) < 2 || os.Args[1] != "-" {
		f, err := os.Create("azure200.jsonl")
		if err != nil {
			log.Fatal(err)
		}
		out = bufio.NewWriter(f)
		defer f.Close()
	}
	for i, row := range rows[1:] { // after the header: TIMESTAMP,ContextTokens,GeneratedTokens
		input, output := eighth(row[1]), eighth(row[2])
		r := random(i+1) * 0x9e3779b97f4a7c15 // seeds that are near each other would begin alike
		switch i % 4 {
		case 0, 2:
			fmt.Fprintf(out, `{"task_id":%d,"prompt":"%s","output_tokens":%d}`+"\n", i, text(&r, input), output)
		case 1:
			fmt.Fprintf(out, `{"task_id":%d,"input_ids":%s,"output_tokens":%d}`+"\n", i, ids(&r, input), output)
		case 3:
			fmt.Fprintf(out, `{"task_id":"%d","logits":%s,"output_tokens":%d}`+"\n", i, ids(&r, input), output)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func eighth(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		log.Fatal(err)
	}
	return max(1, n/8)
}

// text returns 3 words for 4 tokens, at least one: English takes about 4/3
// tokens a word. The exact number depends on the server's tokenizer.
func text(r *random, tokens int) string {
	words := make([]string, max(1, tokens*3/4))
	for i := range words {
		words[i] = vocabulary[r.next(len(vocabulary))]
	}
	return strings.Join(words, " ")
}

// ids returns exactly so many ids, in the range that nearly every model has,
// without the low ones, where the special tokens are.
func ids(r *random, tokens int) string {
	ids := make([]string, tokens)
	for i := range ids {
		ids[i] = strconv.Itoa(1000 + r.next(31_000))
	}
	return "[" + strings.Join(ids, ",") + "]"
}

// random is xorshift64* (Vigna 2016), never 0.
type random uint64

func (r *random) next(n int) int {
	x := uint64(*r)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = random(x)
	return int((x * 0x2545f4914f6cdd1d) >> 33 % uint64(n))
}

var vocabulary = strings.Fields(`
	a about after again all also and any are around as at back be because been before between both but by call can change
	come could day do down each end even every few find first follow for form found from get give go good great had hand
	has have help her here high him his home hour house how I if in into is it just keep kind know large last late learn
	leave left life light like line little long look made make man many may mean measure might more most move much must
	my name near need never new next night no not now number of off old on once one only open or order other our out over
	own page part people place plan play point power put read right room run said same saw say school second see seem
	send set she should show side small so some soon sound start still stop story such take tell than that the their them
	then there these they thing think this those thought three through time to together too tree try turn two under until
	up us use very voice walk want was watch water way we well went were what when where which while white who why will
	with without word work world would write year you young your`)
