package logs

import (
	"wattrace/formats"
	"wattrace/formats/energymetrics"
	"wattrace/formats/inferencex"
)

// openInferenceX opens what InferenceX published of a run, which has no requests.
func openInferenceX(in, _ *formats.Input) (*Log, error) {
	b, err := whole(in, inferencex.MaxFile)
	if err != nil {
		return nil, err
	}
	l := &Log{}
	var list []inferencex.Figure
	if in.Kind() == formats.InferenceXAudit {
		l.Audit, err = inferencex.ParseAudit(b, in.Name())
		if err == nil {
			list = l.Audit.Figures
		}
	} else {
		l.Aggregate, err = inferencex.ParseAggregate(b, in.Name())
		if err == nil {
			list = l.Aggregate.Figures
		}
	}
	l.Stated = []Statement{{Tool: "inferencex", Figures: figures(list)}}
	return l, err
}

// openEnergyMetrics opens saved answers of trtllm-serve.
func openEnergyMetrics(in, _ *formats.Input) (*Log, error) {
	b, err := whole(in, energymetrics.MaxFile)
	if err != nil {
		return nil, err
	}
	l := &Log{}
	if l.Answers, err = energymetrics.Parse(b, in.Name()); err != nil {
		return nil, err
	}
	for _, a := range l.Answers {
		l.Stated = append(l.Stated, Statement{Tool: "trtllm", Figures: []Figure{{"total_energy_j", "J", a.Joules}, {"query_time", "s", a.Seconds}}})
	}
	return l, nil
}
