package chart

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func svg(t testing.TB, f *Figure) string {
	t.Helper()
	var b strings.Builder
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := d.Token(); err == io.EOF {
			return b.String()
		} else if err != nil {
			t.Fatalf("%v:\n%s", err, b.String())
		}
	}
}

// TestAxis: a rounded axis holds its values, and its ticks are in it, few and in order.
func TestAxis(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := Axis{Log: rapid.Bool().Draw(t, "log")}
		least := -1e12
		if a.Log {
			least = 1e-9
		}
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(least, 1e12), rapid.SampledFrom([]float64{max(0, least), 1, 5})), 1, 5).Draw(t, "values")
		a.Fit(values...)
		a.Fit(math.NaN(), math.Inf(1))
		a.Round()
		if !(a.Max > a.Min) {
			t.Fatalf("%+v", a)
		}
		for _, v := range values {
			if p := a.place(v); !(p >= -1e-9 && p <= 1+1e-9) {
				t.Fatalf("%v is at %v of %+v", v, p, a)
			}
		}
		list := a.ticks(7)
		if len(list) > 30 {
			t.Fatalf("%d ticks", len(list))
		}
		for i, v := range list {
			if p := a.place(v); !(p >= -1e-6 && p <= 1+1e-6) || i > 0 && v <= list[i-1] {
				t.Fatalf("ticks %v of %+v", list, a)
			}
		}
	})
}

func TestTickText(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", math.Nextafter(0.3, 1): "0.3", 0.3: "0.3", 1500: "1500", 2e7: "2e+07", 0.00002: "2e-05", -40: "-40"} {
		if got := tickText(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// TestText: any text is text, in any place of a figure.
func TestText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Just("</text><script>alert(1)</script>"), rapid.Just("]]>&<\"'\x00\xff\u2028￾")).Draw(rt, "s")
		out := svg(t, &Figure{
			Width: 400, Title: s, X: Axis{Label: s, Max: 1}, Bands: []Band{{From: 0, To: 1, Name: s}},
			Panels: []Panel{{Height: 80, Keys: true, Y: Axis{Label: s, Max: 1}, Lines: []Line{{Name: s, X: []float64{0, 1}, Y: []float64{0, 1}}}, Points: []Point{{X: .5, Y: .5, Label: s, Title: s}}}},
		})
		if strings.Contains(out, "<script") {
			rt.Fatal("an element came out of a text")
		}
	})
}

// TestGaps: what is not known parts a line and is no point.
func TestGaps(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	out := svg(t, &Figure{Width: 300, X: Axis{Max: 4}, Panels: []Panel{{Height: 50, Y: Axis{Max: 1}, Lines: []Line{
		{X: []float64{0, 1, 2, 3, 4}, Y: []float64{0, 1, nan, 1, 0}}, {X: []float64{0}, Y: []float64{nan}},
	}, Points: []Point{{X: nan, Y: 1}}}}})
	_, path, _ := strings.Cut(out, `class="axis"/>`+"\n<text transform")
	if n := strings.Count(path, "M"); n != 2 || strings.Count(path, "<path") != 1 || strings.Contains(out, "<circle") || strings.Contains(out, "NaN") {
		t.Errorf("%d parts:\n%s", n, path)
	}
}
