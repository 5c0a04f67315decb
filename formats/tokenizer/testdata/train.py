"""Train the tokenizer of the tests on this repository's own text.

    python3 train.py small.json FILE...

The model is what matters: the tests give it other pre-tokenizers.
"""

import json
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

out, *files = sys.argv[1:]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
t = Tokenizer(models.BPE())
t.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
])
t.train(files, trainers.BpeTrainer(
    vocab_size=2300, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
t.save(out, pretty=False)
d = json.load(open(out))
d["post_processor"] = d["decoder"] = None
json.dump(d, open(out, "w"), ensure_ascii=False, separators=(",", ":"))
