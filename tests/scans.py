"""Small DICOM and NIfTI files with values that a test can foresee."""

from pathlib import Path

import numpy as np


def dicom(file: Path, pixels, *, bits=12, patient="MRN-0042", **tags) -> Path:
    """A file of ``pixels`` (H, W), (F, H, W) or (H, W, 3); ``tags`` by keyword, as pydicom calls them."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    pixels = np.asarray(pixels)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.PatientID, data.PatientName, data.AccessionNumber = patient, "Doe^Jane", "ACC-777"
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    height = 0 if colour or pixels.ndim == 2 else 1
    data.Rows, data.Columns = pixels.shape[height : height + 2]
    data.BitsAllocated = 8 if pixels.dtype == np.uint8 else 16
    data.BitsStored = 8 if pixels.dtype == np.uint8 else bits
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    file.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(file)
    return file


def nifti(file: Path, values, affine=None) -> Path:
    """A volume of ``values``; by default its axes count to the right, front and top."""
    import nibabel

    file.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.asarray(values), np.eye(4) if affine is None else affine)
    nibabel.save(image, file)
    return file
