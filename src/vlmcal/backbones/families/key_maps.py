"""Names of tensors in published files, and the names of the same tensors in the own towers."""

from vlmcal.backbones.weights import Rules

_WB = r"(weight|bias)"


def resblocks(source: str, target: str) -> Rules:
    """Blocks of open_clip, OpenAI and CONCH (``in_proj``, ``c_fc``)."""
    s, t = rf"{source}\.(\d+)\.", rf"{target}.\1."
    qkv = "|".join(rf"{t}self_attn.{p}_proj.\2" for p in "qkv")
    return [
        (rf"{s}ln_([12])\.{_WB}", rf"{t}layer_norm\2.\3"),
        (rf"{s}attn\.in_proj_{_WB}", qkv),
        (rf"{s}attn\.out_proj\.{_WB}", rf"{t}self_attn.out_proj.\2"),
        (rf"{s}mlp\.c_fc\.{_WB}", rf"{t}mlp.fc1.\2"),
        (rf"{s}mlp\.c_proj\.{_WB}", rf"{t}mlp.fc2.\2"),
    ]


def timm_trunk(source: str, target: str) -> Rules:
    """A timm vision transformer without its head."""
    s, t = rf"{source}\.blocks\.(\d+)\.", rf"{target}.layers.\1."
    qkv = "|".join(rf"{t}self_attn.{p}_proj.\2" for p in "qkv")
    return [
        (rf"{source}\.cls_token", f"{target}.embed.class_embedding"),
        (rf"{source}\.pos_embed", f"{target}.embed.position_embedding"),
        (rf"{source}\.patch_embed\.proj\.{_WB}", rf"{target}.embed.patch_embedding.\1"),
        (rf"{source}\.norm\.{_WB}", rf"{target}.final_norm.\1"),
        (rf"{s}norm([12])\.{_WB}", rf"{t}layer_norm\2.\3"),
        (rf"{s}attn\.qkv\.{_WB}", qkv),
        (rf"{s}attn\.proj\.{_WB}", rf"{t}self_attn.out_proj.\2"),
        (rf"{s}mlp\.(fc[12])\.{_WB}", rf"{t}mlp.\2.\3"),
    ]


CLIP_VIT: Rules = [
    (r"visual\.class_embedding", "image.embed.class_embedding"),
    (r"visual\.conv1\.weight", "image.embed.patch_embedding.weight"),
    (r"visual\.positional_embedding", "image.embed.position_embedding"),
    (rf"visual\.ln_pre\.{_WB}", r"image.pre_norm.\1"),
    (rf"visual\.ln_post\.{_WB}", r"image.final_norm.\1"),
    (r"visual\.proj", ".T image.projection.weight"),
    *resblocks(r"visual\.transformer\.resblocks", "image.layers"),
]

CLIP_RESNET: Rules = [
    (rf"visual\.attnpool\.c_proj\.{_WB}", r"image.attnpool.out_proj.\1"),
    (r"visual\.(.+)", r"image.\1"),
]

TIMM_VIT: Rules = [
    *timm_trunk(r"visual\.trunk", "image"),
    (rf"visual\.head\.proj\.{_WB}", r"image.projection.\1"),
    (rf"visual\.head\.mlp\.(fc[12])\.{_WB}", r"image.projection.\1.\2"),
]

CAUSAL_TEXT: Rules = [
    (r"(?:text\.)?token_embedding\.weight", "text.token_embedding.weight"),
    (r"(?:text\.)?positional_embedding", "text.position_embedding"),
    (rf"(?:text\.)?ln_final\.{_WB}", r"text.final_norm.\1"),
    (r"(?:text\.)?text_projection", ".T text.projection.weight"),
    (rf"(?:text\.)?text_projection\.{_WB}", r"text.projection.\1"),
    (r"(?:text\.)?attn_mask", ""),
    (r"input_resolution|context_length|vocab_size", ""),
    *resblocks(r"(?:text\.)?transformer\.resblocks", "text.layers"),
]
SCALARS: Rules = [(r"logit_(?:scale|bias)", "")]


def bert(source: str, target: str, *, pooler: bool) -> Rules:
    """A BERT of the transformers library; ``position_ids`` of old files are dropped."""
    s, t = rf"{source}\.encoder\.layer\.(\d+)\.", rf"{target}.layers.\1."
    return [
        (rf"{source}\.embeddings\.position_ids", ""),
        (rf"{source}\.embeddings\.word_embeddings\.weight", f"{target}.token_embedding.weight"),
        (rf"{source}\.embeddings\.position_embeddings\.weight", f"{target}.position_embedding"),
        (rf"{source}\.embeddings\.token_type_embeddings\.weight", f"{target}.type_embedding"),
        (rf"{source}\.embeddings\.LayerNorm\.{_WB}", rf"{target}.input_norm.\1"),
        (rf"{s}attention\.self\.query\.{_WB}", rf"{t}self_attn.q_proj.\2"),
        (rf"{s}attention\.self\.key\.{_WB}", rf"{t}self_attn.k_proj.\2"),
        (rf"{s}attention\.self\.value\.{_WB}", rf"{t}self_attn.v_proj.\2"),
        (rf"{s}attention\.output\.dense\.{_WB}", rf"{t}self_attn.out_proj.\2"),
        (rf"{s}attention\.output\.LayerNorm\.{_WB}", rf"{t}layer_norm1.\2"),
        (rf"{s}intermediate\.dense\.{_WB}", rf"{t}mlp.fc1.\2"),
        (rf"{s}output\.dense\.{_WB}", rf"{t}mlp.fc2.\2"),
        (rf"{s}output\.LayerNorm\.{_WB}", rf"{t}layer_norm2.\2"),
        (rf"{source}\.pooler\.dense\.{_WB}", rf"{target}.pooler.\1" if pooler else ""),
    ]


SIGLIP: Rules = [
    (rf"vision_model\.embeddings\.patch_embedding\.{_WB}", r"image.embed.patch_embedding.\1"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "image.embed.position_embedding"),
    (r"(?:vision|text)_model\.embeddings\.position_ids", ""),
    (rf"vision_model\.post_layernorm\.{_WB}", r"image.final_norm.\1"),
    (r"vision_model\.encoder\.layers\.(.+)", r"image.layers.\1"),
    (r"vision_model\.head\.(.+)", r"image.pool.\1"),
    (r"text_model\.embeddings\.token_embedding\.weight", "text.token_embedding.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.position_embedding"),
    (rf"text_model\.final_layer_norm\.{_WB}", r"text.final_norm.\1"),
    (r"text_model\.encoder\.layers\.(.+)", r"text.layers.\1"),
    (rf"text_model\.head\.{_WB}", r"text.projection.\1"),
]

CONCH: Rules = [
    *timm_trunk(r"visual\.trunk", "image"),
    (r"visual\.attn_pool_contrast\.(.+)", r"image.pool.\1"),
    (rf"visual\.ln_contrast\.{_WB}", r"image.pool.norm.\1"),
    (r"visual\.proj_contrast", ".T image.projection.weight"),
    (r"visual\.(?:attn_pool_caption|ln_caption|proj_caption).*|text_decoder\..*", ""),
    (r"text\.cls_emb", "text.cls_embedding"),
    *CAUSAL_TEXT,
]

_SWIN = r"vision_model\.model\.encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_SWIN_TO = r"image.stages.\1.\2."
MEDCLIP_SWIN: Rules = [
    (rf"vision_model\.model\.embeddings\.patch_embeddings\.projection\.{_WB}", r"image.patch.\1"),
    (rf"vision_model\.model\.embeddings\.norm\.{_WB}", r"image.patch_norm.\1"),
    (rf"{_SWIN}layernorm_before\.{_WB}", rf"{_SWIN_TO}layer_norm1.\3"),
    (rf"{_SWIN}layernorm_after\.{_WB}", rf"{_SWIN_TO}layer_norm2.\3"),
    (rf"{_SWIN}attention\.self\.relative_position_bias_table", rf"{_SWIN_TO}position_table"),
    (rf"{_SWIN}attention\.self\.relative_position_index", ""),
    (rf"{_SWIN}attention\.self\.query\.{_WB}", rf"{_SWIN_TO}self_attn.q_proj.\3"),
    (rf"{_SWIN}attention\.self\.key\.{_WB}", rf"{_SWIN_TO}self_attn.k_proj.\3"),
    (rf"{_SWIN}attention\.self\.value\.{_WB}", rf"{_SWIN_TO}self_attn.v_proj.\3"),
    (rf"{_SWIN}attention\.output\.dense\.{_WB}", rf"{_SWIN_TO}self_attn.out_proj.\3"),
    (rf"{_SWIN}intermediate\.dense\.{_WB}", rf"{_SWIN_TO}mlp.fc1.\3"),
    (rf"{_SWIN}output\.dense\.{_WB}", rf"{_SWIN_TO}mlp.fc2.\3"),
    (r"vision_model\.model\.encoder\.layers\.(\d+)\.downsample\.(.+)", r"image.merges.\1.\2"),
    (rf"vision_model\.model\.layernorm\.{_WB}", r"image.final_norm.\1"),
    (r"vision_model\.projection_head\.weight", "image.projection.weight"),
]
MEDCLIP_RESNET: Rules = [(r"vision_model\.model\.(.+)", r"image.\1")]
MEDCLIP_TEXT: Rules = [
    *bert(r"text_model\.model", "text", pooler=False),
    (r"text_model\.projection_head\.weight", "text.projection.weight"),
]
