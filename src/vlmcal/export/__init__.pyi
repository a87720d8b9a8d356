from vlmcal.export.head import LinearHead as LinearHead
from vlmcal.export.head import linear_head as linear_head
from vlmcal.export.head import load_head as load_head
from vlmcal.export.head import save_head as save_head
from vlmcal.export.head import save_onnx as save_onnx
from vlmcal.export.hugging_face import compute_metrics as compute_metrics
from vlmcal.export.torchmetrics import CalibrationMetric as CalibrationMetric
