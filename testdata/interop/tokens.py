"""Print the token ids that Hugging Face's tokenizers library gives texts.

    python3 tokens.py TOKENIZER.json < texts.jsonl

Each line of the input is a JSON string, each line of the output a JSON array.
"""

import json
import sys

from tokenizers import Tokenizer

t = Tokenizer.from_file(sys.argv[1])
for line in sys.stdin:
    print(json.dumps(t.encode(json.loads(line), add_special_tokens=False).ids, separators=(",", ":")))
