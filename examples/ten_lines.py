"""Prompt-tune the pocket model on real digits, calibrate it, and classify one image."""

from vlmcal import fit
from vlmcal.data import load_dataset

digits = load_dataset("digits")
model = fit(digits, method="coop", objective=["ce", "tcpt"], shots=16, seed=1, epochs=20)
image = digits.of_split("test").images[0]
answer = model.predict([image])[0]
print(f"{answer.label}: {answer.confidence:.2f} (calibrated by {model.calibrated})")
print("other names:", model.for_classes(["one", "seven"]).predict([image])[0].label)
