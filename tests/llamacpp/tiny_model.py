"""Writes a model of llama.cpp's kind with random weights: one layer, letters for words, nothing learned.

`python tiny_model.py FILE`; a script by itself, for a Python that has `gguf` and `numpy`.
"""

import sys

import gguf
import numpy as np

_WIDTH, _HEADS, _FEED, _CONTEXT = 32, 2, 64, 4096
_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# Kinds of tokens in the format: unknown, control, byte, ordinary.
_UNKNOWN, _CONTROL, _BYTE, _ORDINARY = 2, 3, 6, 1


def vocabulary() -> tuple[list[bytes], list[int]]:
    """Return three marks, every byte, and the printable letters."""
    letters = ["\u2581" if code == 32 else chr(code) for code in range(32, 127)]
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % code for code in range(256)), *(x.encode() for x in letters)]
    return tokens, [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_ORDINARY] * len(letters)]


def write(path: str) -> None:
    """Write the model; the same bytes each time."""
    random = np.random.default_rng(7)
    tokens, kinds = vocabulary()

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    out = gguf.GGUFWriter(path, "llama")
    _describe(out, tokens, kinds)
    out.add_tensor("token_embd.weight", weights(len(tokens), _WIDTH))
    out.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    voice = weights(len(tokens), _WIDTH)
    voice[: 3 + 256] = 0  # left alone it says letters, and never ends by itself
    out.add_tensor("output.weight", voice)
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (_WIDTH, _WIDTH))
    shapes |= {"ffn_gate": (_FEED, _WIDTH), "ffn_up": (_FEED, _WIDTH), "ffn_down": (_WIDTH, _FEED)}
    for name, shape in shapes.items():
        out.add_tensor(f"blk.0.{name}.weight", weights(*shape))
    for name in ("attn_norm", "ffn_norm"):
        out.add_tensor(f"blk.0.{name}.weight", np.ones(_WIDTH, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _describe(out: "gguf.GGUFWriter", tokens: list[bytes], kinds: list[int]) -> None:
    out.add_name("tiny")
    out.add_context_length(_CONTEXT)
    out.add_embedding_length(_WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(_FEED)
    out.add_head_count(_HEADS)
    out.add_head_count_kv(_HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(_WIDTH // _HEADS)
    out.add_vocab_size(len(tokens))
    out.add_file_type(0)
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_scores([0.0] * len(tokens))
    out.add_token_types(kinds)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_add_bos_token(True)
    out.add_chat_template(_TEMPLATE)


if __name__ == "__main__":
    write(sys.argv[1])
