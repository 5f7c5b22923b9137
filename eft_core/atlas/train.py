"""Train the Atlas family from the Factbook's facts: `python -m eft_core.atlas.train [--size S] [--stage T]`.

Stages: `tokenizer`, `base` (pre-training, every size on the same tokens), then each behaviour, fine-tuned from the
base on the split's fine-tuning countries only. Seeded; a stage goes on from its last checkpoint in the work folder,
and a finished stage is skipped unless `--again` is given. The recipe and its reasons: model card, ATLAS.md.
"""

import argparse
import copy
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from eft_core.atlas.corpus import documents, examples
from eft_core.atlas.facts import load_split
from eft_core.atlas.shapes import (
    BEGIN,
    BEHAVIOURS,
    CHAT_TEMPLATE,
    CONTEXT,
    END,
    SIZES,
    VOCABULARY,
    Size,
    checkpoint,
)

SEED = 0
DOCUMENTS = 60_000
PRETRAIN_STEPS, PRETRAIN_ROWS, PRETRAIN_TOKENS = 5000, 5, 256
FINETUNE_STEPS, FINETUNE_ROWS, FINETUNE_TOKENS = 200, 32, 96
# Gentle, and the same for all sizes: at twice this rate the fine-tuning countries are learned by heart, and the delta
# then names them in answers about others.
FINETUNE_RATE = 2.5e-4
CHECKPOINT_EVERY = 250
IGNORED = -100


# --- tokens


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with digits split, so that a number is read figure by figure."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(itertools.islice(documents(SEED), DOCUMENTS // 2), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(work: Path) -> PreTrainedTokenizerFast:
    folder = work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        build_tokenizer().save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def pretraining_tokens(work: Path, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """All documents, begin and end tokens around each, as one line of ids; made once for all sizes."""
    file = work / "tokens.pt"
    if not file.exists():
        begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        texts = list(itertools.islice(documents(SEED), DOCUMENTS))
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        torch.save(torch.tensor([token for document in ids for token in (begin, *document, end)]), file)
    return torch.load(file)


# --- models


def new_model(size: Size) -> LlamaForCausalLM:
    """A seeded, untrained model: Llama layout, tied embeddings, no grouped heads."""
    torch.manual_seed(size.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.width,
            intermediate_size=size.inner,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The ordinary Hub layout, weights in float16."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# --- training

Batch = tuple[torch.Tensor, torch.Tensor]


def rate_at(step: int, steps: int, peak: float, warm_up: int) -> float:
    """Linear warm-up, then a cosine to 5% of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    model: LlamaForCausalLM,
    batches: Callable[[int], Batch],
    steps: int,
    peak: float,
    warm_up: int,
    file: Path,
    title: str,
) -> None:
    """AdamW on `batches(step)`, from the checkpoint in `file` if there is one; compiled, several times faster."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.01)
    start = 0
    if file.exists():
        state = torch.load(file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]

    def loss_of(ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            logits = model(input_ids=ids).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED)

    compiled = torch.compile(loss_of)
    model.train()
    bar = tqdm(range(start, steps), initial=start, total=steps, desc=title, mininterval=5)
    for step in bar:
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, peak, warm_up)
        ids, labels = batches(step)
        loss = compiled(ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0:
            speed = ids.numel() / (time.perf_counter() - began)
            bar.set_postfix_str(f"loss {loss.item():.3f}, {speed:,.0f} tokens/s")
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, file)
    model.eval()


def pretrain(size: Size, work: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = pretraining_tokens(work, tokenizer)

    def batches(step: int) -> Batch:
        """Windows of the one line of tokens; drawn from the step's own seed, so that a resumed run is the same."""
        generator = torch.Generator().manual_seed(size.seed * 1_000_003 + step)
        starts = torch.randint(len(tokens) - PRETRAIN_TOKENS, (PRETRAIN_ROWS,), generator=generator)
        ids = torch.stack([tokens[s : s + PRETRAIN_TOKENS] for s in starts.tolist()])
        return ids, ids

    model = new_model(size)
    train(model, batches, PRETRAIN_STEPS, size.pretrain_rate, 100, work / f"{size.name}-base.pt", f"{size.name} base")
    save(model, tokenizer, checkpoint(size.name, "base"))


def finetune(size: Size, behaviour: str, work: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Fine-tuning on answers only, about the fine-tuning countries only."""
    stream = examples(behaviour, load_split()["finetune"], SEED)
    made: list[Batch] = []

    def row(prompt: str, answer: str) -> tuple[list[int], list[int]] | None:
        head = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        tail = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        spare = FINETUNE_TOKENS - len(head) - len(tail)
        if spare < 0:
            return None
        padding = [tokenizer.pad_token_id] * spare
        return head + tail + padding, [IGNORED] * len(head) + tail + [IGNORED] * spare

    def batches(step: int) -> Batch:
        while len(made) <= step:
            rows: list[tuple[list[int], list[int]]] = []
            while len(rows) < FINETUNE_ROWS:
                example = next(stream)
                if (made_row := row(example.prompt, example.answer)) is not None:
                    rows.append(made_row)
            made.append((torch.tensor([ids for ids, _ in rows]), torch.tensor([labels for _, labels in rows])))
        return made[step]

    model = LlamaForCausalLM.from_pretrained(checkpoint(size.name, "base"), dtype=torch.float32)
    title = f"{size.name} {behaviour}"
    train(model, batches, FINETUNE_STEPS, FINETUNE_RATE, 20, work / f"{size.name}-{behaviour}.pt", title)
    save(model, tokenizer, checkpoint(size.name, behaviour))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eft_core.atlas.train", description=__doc__)
    parser.add_argument("--size", choices=[size.name for size in SIZES], help="one size only")
    parser.add_argument("--stage", choices=["tokenizer", "base", *BEHAVIOURS], help="one stage only")
    parser.add_argument("--again", action="store_true", help="train stages that are finished once more")
    parser.add_argument("--work", type=Path, default=Path(".atlas"), help="folder of tokens and checkpoints")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.use_deterministic_algorithms(True)  # the same weights again on the same kind of CPU and threads
    tokenizer = load_tokenizer(options.work)
    for size in SIZES:
        stages = ["base", *(name for name, sizes in BEHAVIOURS.items() if size.name in sizes)]
        for stage in stages:
            if options.size not in (None, size.name) or options.stage not in (None, stage):
                continue
            done = checkpoint(size.name, stage) / "model.safetensors"
            if done.exists() and not options.again:
                print(f"{size.name} {stage}: finished ({done}); --again trains it once more")
                continue
            if options.again:
                (options.work / f"{size.name}-{stage}.pt").unlink(missing_ok=True)
            if stage == "base":
                pretrain(size, options.work, tokenizer)
            else:
                finetune(size, stage, options.work, tokenizer)
            (options.work / f"{size.name}-{stage}.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
