"""Tiny random checkpoints of every published layout, made without the libraries they come from."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tiny_clip import _vocabulary, _write_tokenizer, make_tiny_clip

WORDS = ["a", "photo", "of", "the", "cat", "dog", "sea", "lake", "x", ".", ",", "737", "-", "or"]
PIECES = [*WORDS, *[c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]]
BERT_VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(PIECES)]
BERT_VOCABULARY += [f"##{p}" for p in dict.fromkeys(PIECES)]


class Maker:
    """Random tensors by name: norms near one, matrices scaled by their width."""

    def __init__(self, seed=0):
        self.generator, self.made = torch.Generator().manual_seed(seed), {}

    def __call__(self, name, *shape, scale=None):
        noise = torch.randn(shape, generator=self.generator)
        self.made[name] = noise * (shape[-1] ** -0.5 if scale is None else scale)

    def norm(self, name, width):
        self.made[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=self.generator)
        self(f"{name}.bias", width, scale=0.2)

    def linear(self, name, out, inputs, bias=True):
        self(f"{name}.weight", out, inputs)
        if bias:
            self(f"{name}.bias", out, scale=0.2)

    def batch_norm(self, name, width):
        self.norm(name, width)
        self(f"{name}.running_mean", width, scale=0.1)
        self.made[f"{name}.running_var"] = 1 + torch.rand(width, generator=self.generator)

    def conv(self, name, out, inputs, size):
        self(f"{name}.weight", out, inputs, size, size, scale=(inputs * size * size) ** -0.5)


def resblocks(m, prefix, count, width, hidden):
    for i in range(count):
        block = f"{prefix}.{i}"
        m.norm(f"{block}.ln_1", width)
        m(f"{block}.attn.in_proj_weight", 3 * width, width)
        m(f"{block}.attn.in_proj_bias", 3 * width, scale=0.2)
        m.linear(f"{block}.attn.out_proj", width, width)
        m.norm(f"{block}.ln_2", width)
        m.linear(f"{block}.mlp.c_fc", hidden, width)
        m.linear(f"{block}.mlp.c_proj", width, hidden)


def causal_text(m, prefix, vocabulary, length=77, width=64, out=24):
    m(f"{prefix}token_embedding.weight", vocabulary, width, scale=0.3)
    m(f"{prefix}positional_embedding", length, width, scale=0.3)
    resblocks(m, f"{prefix}transformer.resblocks", 2, width, 2 * width)
    m.norm(f"{prefix}ln_final", width)
    m(f"{prefix}text_projection", width, out, scale=width**-0.5)


def clip_vit(m, width=64, out=24):
    m("visual.class_embedding", width, scale=0.3)
    m.conv("visual.conv1", width, 3, 8)
    m("visual.positional_embedding", 5, width, scale=0.3)
    m.norm("visual.ln_pre", width)
    resblocks(m, "visual.transformer.resblocks", 2, width, 2 * width)
    m.norm("visual.ln_post", width)
    m("visual.proj", width, out, scale=width**-0.5)


def timm_vit(m, width=64):
    m("visual.trunk.cls_token", 1, 1, width, scale=0.3)
    m("visual.trunk.pos_embed", 1, 5, width, scale=0.3)
    m.conv("visual.trunk.patch_embed.proj", width, 3, 8)
    m("visual.trunk.patch_embed.proj.bias", width, scale=0.2)
    for i in range(2):
        block = f"visual.trunk.blocks.{i}"
        m.norm(f"{block}.norm1", width)
        m.linear(f"{block}.attn.qkv", 3 * width, width)
        m.linear(f"{block}.attn.proj", width, width)
        m.norm(f"{block}.norm2", width)
        m.linear(f"{block}.mlp.fc1", 2 * width, width)
        m.linear(f"{block}.mlp.fc2", width, 2 * width)
    m.norm("visual.trunk.norm", width)


def modified_resnet(m, width=4, out=24):
    for number, shape in enumerate([(2, 3), (2, 2), (4, 2)], start=1):
        m.conv(f"visual.conv{number}", *shape, 3)
        m.batch_norm(f"visual.bn{number}", shape[0])
    residual_stages(m, "visual.", width, width)
    last = 32 * width
    m("visual.attnpool.positional_embedding", 5, last, scale=0.3)
    for part in ("q", "k", "v"):
        m.linear(f"visual.attnpool.{part}_proj", last, last)
    m.linear("visual.attnpool.c_proj", out, last)


def residual_stages(m, prefix, width, inputs):
    for number in range(1, 5):
        planes = width * 2 ** (number - 1)
        block = f"{prefix}layer{number}.0"
        m.conv(f"{block}.conv1", planes, inputs, 1)
        m.conv(f"{block}.conv2", planes, planes, 3)
        m.conv(f"{block}.conv3", 4 * planes, planes, 1)
        for part, size in enumerate((planes, planes, 4 * planes), start=1):
            m.batch_norm(f"{block}.bn{part}", size)
        m.conv(f"{block}.downsample.0", 4 * planes, inputs, 1)
        m.batch_norm(f"{block}.downsample.1", 4 * planes)
        inputs = 4 * planes


def bert(m, prefix, width=64, layers=3, length=40, pooler=False):
    m(f"{prefix}embeddings.word_embeddings.weight", len(BERT_VOCABULARY), width, scale=0.5)
    m(f"{prefix}embeddings.position_embeddings.weight", length, width, scale=0.3)
    m(f"{prefix}embeddings.token_type_embeddings.weight", 2, width, scale=0.3)
    m.norm(f"{prefix}embeddings.LayerNorm", width)
    for i in range(layers):
        block = f"{prefix}encoder.layer.{i}"
        for part in ("query", "key", "value"):
            m.linear(f"{block}.attention.self.{part}", width, width)
        m.linear(f"{block}.attention.output.dense", width, width)
        m.norm(f"{block}.attention.output.LayerNorm", width)
        m.linear(f"{block}.intermediate.dense", 2 * width, width)
        m.linear(f"{block}.output.dense", width, 2 * width)
        m.norm(f"{block}.output.LayerNorm", width)
    if pooler:
        m.linear(f"{prefix}pooler.dense", width, width)


def swin(m, prefix, width=8, out=24):
    m.conv(f"{prefix}model.embeddings.patch_embeddings.projection", width, 3, 4)
    m(f"{prefix}model.embeddings.patch_embeddings.projection.bias", width, scale=0.2)
    m.norm(f"{prefix}model.embeddings.norm", width)
    for stage in range(4):
        size = width * 2**stage
        for i in range(2 if stage == 0 else 1):
            block = f"{prefix}model.encoder.layers.{stage}.blocks.{i}"
            m.norm(f"{block}.layernorm_before", size)
            m(f"{block}.attention.self.relative_position_bias_table", 169, 2, scale=0.3)
            for part in ("query", "key", "value"):
                m.linear(f"{block}.attention.self.{part}", size, size)
            m.linear(f"{block}.attention.output.dense", size, size)
            m.norm(f"{block}.layernorm_after", size)
            m.linear(f"{block}.intermediate.dense", 2 * size, size)
            m.linear(f"{block}.output.dense", size, 2 * size)
        if stage < 3:
            m.norm(f"{prefix}model.encoder.layers.{stage}.downsample.norm", 4 * size)
            down = f"{prefix}model.encoder.layers.{stage}.downsample.reduction"
            m.linear(down, 2 * size, 4 * size, bias=False)
    m.norm(f"{prefix}model.layernorm", 8 * width)
    m.linear(f"{prefix}projection_head", out, 8 * width, bias=False)


def _open_clip(folder, m, vision, text, **model):
    m.made["logit_scale"] = torch.tensor(4.0)
    save_file(m.made, str(folder / "open_clip_model.safetensors"))
    sizes = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, **model}
    config = {"model_cfg": sizes, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def _word_pieces(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(BERT_VOCABULARY))


def openclip_vit(folder):
    m = Maker()
    clip_vit(m)
    causal_text(m, "", len(_vocabulary()))
    _write_tokenizer(folder, _vocabulary())
    _open_clip(folder, m, {"image_size": 16, "head_width": 32}, {"heads": 2}, quick_gelu=True)
    return folder


def openclip_resnet(folder):
    m = Maker()
    modified_resnet(m)
    causal_text(m, "text.", len(_vocabulary()))
    m.made["logit_bias"] = torch.tensor(-9.0)
    _write_tokenizer(folder, _vocabulary())
    _open_clip(folder, m, {"image_size": 64}, {"heads": 2}, custom_text=True)
    return folder


BERT_TEXT = {"hf_model_name": "some/bert", "hf_tokenizer_name": "some/bert", "hf_proj_type": "mlp"}


def openclip_timm_bert(folder, pooler="cls_last_hidden_state_pooler"):
    m = Maker()
    timm_vit(m)
    m.linear("visual.head.proj", 24, 64, bias=False)
    bert(m, "text.transformer.", pooler=pooler == "cls_pooler")
    m.linear("text.proj.0", 40, 64, bias=False)
    m.linear("text.proj.2", 24, 40, bias=False)
    _word_pieces(folder)
    vision = {"timm_model_name": "vit_base_patch16_224", "timm_pool": "", "image_size": 16}
    text = {**BERT_TEXT, "hf_pooler_type": pooler, "context_length": 32}
    _open_clip(folder, m, vision, text)
    return folder


def openclip_bert_pooler(folder):
    return openclip_timm_bert(folder, "cls_pooler")


def openclip_bert_mean(folder):
    return openclip_timm_bert(folder, "mean_pooler")


def openai_vit(folder):
    m = Maker()
    clip_vit(m)
    causal_text(m, "", len(_vocabulary()))
    m.made["logit_scale"] = torch.tensor(4.6)
    _write_tokenizer(folder, _vocabulary())
    torch.save({k: v.half() for k, v in m.made.items()}, folder / "ViT.pt")
    return folder / "ViT.pt"


def medclip_swin(folder):
    m = Maker()
    swin(m, "vision_model.")
    return _medclip(folder, m)


def medclip_resnet(folder):
    m = Maker()
    m.conv("vision_model.model.conv1", 4, 3, 7)
    m.batch_norm("vision_model.model.bn1", 4)
    residual_stages(m, "vision_model.model.", 4, 4)
    m.linear("vision_model.model.fc", 24, 128, bias=False)
    return _medclip(folder, m)


def _medclip(folder, m):
    bert(m, "text_model.model.", length=80, pooler=True)
    m.linear("text_model.projection_head", 24, 64, bias=False)
    m.made["logit_scale"] = torch.tensor(5.0)  # beyond the published limit
    torch.save(m.made, folder / "pytorch_model.bin")
    _word_pieces(folder / "emilyalsentzer--Bio_ClinicalBERT")
    return folder


def siglip(folder):
    m = Maker()
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    vision = {**shape, "image_size": 16, "patch_size": 8}
    vocabulary = {t: i for i, t in enumerate(["<pad>", "<eos>", "<unk>", *dict.fromkeys(PIECES)])}
    text = {**shape, "vocab_size": len(vocabulary), "max_position_embeddings": 24}
    m.conv("vision_model.embeddings.patch_embedding", 64, 3, 8)
    m("vision_model.embeddings.patch_embedding.bias", 64, scale=0.2)
    m("vision_model.embeddings.position_embedding.weight", 4, 64, scale=0.3)
    m("text_model.embeddings.token_embedding.weight", len(vocabulary), 64, scale=0.5)
    m("text_model.embeddings.position_embedding.weight", 24, 64, scale=0.3)
    for tower in ("vision_model", "text_model"):
        for i in range(2):
            block = f"{tower}.encoder.layers.{i}"
            m.norm(f"{block}.layer_norm1", 64)
            m.norm(f"{block}.layer_norm2", 64)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                m.linear(f"{block}.self_attn.{part}", 64, 64)
            m.linear(f"{block}.mlp.fc1", 128, 64)
            m.linear(f"{block}.mlp.fc2", 64, 128)
    head = "vision_model.head"
    m.norm("vision_model.post_layernorm", 64)
    m(f"{head}.probe", 1, 1, 64, scale=0.5)
    m(f"{head}.attention.in_proj_weight", 192, 64)
    m(f"{head}.attention.in_proj_bias", 192, scale=0.2)
    m.linear(f"{head}.attention.out_proj", 64, 64)
    m.norm(f"{head}.layernorm", 64)
    m.linear(f"{head}.mlp.fc1", 128, 64)
    m.linear(f"{head}.mlp.fc2", 64, 128)
    m.norm("text_model.final_layer_norm", 64)
    m.linear("text_model.head", 64, 64)
    m.made["logit_scale"], m.made["logit_bias"] = torch.tensor([4.7]), torch.tensor([-12.9])
    save_file(m.made, str(folder / "model.safetensors"))
    config = {"model_type": "siglip", "vision_config": vision, "text_config": text}
    (folder / "config.json").write_text(json.dumps(config))
    size = {"height": 16, "width": 16}
    settings = {
        "size": size,
        "do_center_crop": False,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    backend = Tokenizer(
        models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix="")
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "GemmaTokenizer", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def conch(folder):
    m = Maker()
    special = ["<pad>", "<start_of_text>", "<end_of_text>", "<unk>"]
    vocabulary = {t: i for i, t in enumerate([*special, *dict.fromkeys(PIECES)])}
    timm_vit(m)
    pool = "visual.attn_pool_contrast"
    m(f"{pool}.query", 1, 48, scale=0.5)
    m(f"{pool}.attn.q_proj_weight", 48, 48)
    m(f"{pool}.attn.k_proj_weight", 48, 64)
    m(f"{pool}.attn.v_proj_weight", 48, 64)
    m(f"{pool}.attn.in_proj_bias", 144, scale=0.2)
    m.linear(f"{pool}.attn.out_proj", 48, 48)
    m.norm(f"{pool}.ln_q", 48)
    m.norm(f"{pool}.ln_k", 64)
    m.norm("visual.ln_contrast", 48)
    m("visual.proj_contrast", 48, 24, scale=48**-0.5)
    m("visual.attn_pool_caption.query", 6, 48)
    causal_text(m, "text.", len(vocabulary), length=32)
    m("text.cls_emb", 64, scale=0.3)
    m.made["logit_scale"] = torch.tensor(4.0)
    torch.save(m.made, folder / "pytorch_model.bin")
    backend = Tokenizer(
        models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix="")
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.save(str(folder / "conch_byte_level_bpe_uncased.json"))
    return folder


LAYOUTS = {
    "clip": make_tiny_clip,
    "openclip_vit": openclip_vit,
    "openclip_resnet": openclip_resnet,
    "openclip_timm_bert": openclip_timm_bert,
    "openclip_bert_pooler": openclip_bert_pooler,
    "openclip_bert_mean": openclip_bert_mean,
    "openai_vit": openai_vit,
    "medclip_swin": medclip_swin,
    "medclip_resnet": medclip_resnet,
    "siglip": siglip,
    "conch": conch,
}


LABELS = {
    "clip": "CLIP (transformers)",
    "openclip_vit": "open_clip, ViT and causal text",
    "openai_vit": "OpenAI `.pt`, ViT",
    "openclip_resnet": "open_clip or OpenAI, ResNet",
    "openclip_timm_bert": "open_clip, timm ViT and BERT",
    "openclip_bert_mean": "open_clip, BERT with mean pooling",
    "siglip": "SigLIP, SigLIP2",
    "conch": "CONCH",
    "medclip_swin": "MedCLIP, Swin",
    "medclip_resnet": "MedCLIP, ResNet-50",
}


def make_tiny_tower(name: str, folder: Path) -> Path:
    """Write a tiny checkpoint of a layout; returns what a user would name as the backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    return LAYOUTS[name](folder)
