from vlmcal.text_encoding.encode import encode_prompts as encode_prompts
from vlmcal.text_encoding.encode import images_at_once as images_at_once
from vlmcal.text_encoding.layout import PromptLayout as PromptLayout
