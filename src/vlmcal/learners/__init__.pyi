from vlmcal.learners.base import LEARNERS as LEARNERS
from vlmcal.learners.base import Learner as Learner

# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.learners.biomedcoop import BiomedCoOp as BiomedCoOp
from vlmcal.learners.clap import CLAP as CLAP
from vlmcal.learners.clap import ZeroShotLinearProbe as ZeroShotLinearProbe
from vlmcal.learners.clip_adapter import CLIPAdapter as CLIPAdapter
from vlmcal.learners.clip_lora import CLIPLoRA as CLIPLoRA
from vlmcal.learners.co_prompt import CoPrompt as CoPrompt
from vlmcal.learners.cocoop import CoCoOp as CoCoOp
from vlmcal.learners.coop import CoOp as CoOp
from vlmcal.learners.dept import DePT as DePT
from vlmcal.learners.ivlp import IVLP as IVLP
from vlmcal.learners.kgcoop import KgCoOp as KgCoOp
from vlmcal.learners.linear_probe import LinearProbe as LinearProbe
from vlmcal.learners.maple import MaPLe as MaPLe
from vlmcal.learners.mma import MMA as MMA
from vlmcal.learners.proda import ProDA as ProDA
from vlmcal.learners.prograd import ProGrad as ProGrad
from vlmcal.learners.prompt_src import PromptSRC as PromptSRC
from vlmcal.learners.task_res import TaskRes as TaskRes
from vlmcal.learners.tcp import TCP as TCP
from vlmcal.learners.tip_adapter import TipAdapter as TipAdapter
from vlmcal.learners.tip_adapter import TipAdapterF as TipAdapterF
from vlmcal.learners.vpt import VPT as VPT
from vlmcal.learners.zero_shot import ZeroShot as ZeroShot
