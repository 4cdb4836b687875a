"""Data sets whose annotations are files in COCO's form, one for each split."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.datasets.coco_format import (
    KeypointFile,
    compressed_counts,
    images_of,
    keypoint_category,
    person_category_number,
    read_detected_boxes,
    read_document,
    read_keypoint_file,
)
from oasjax.datasets.person_records import (
    PeopleOfSplit,
    existing_files,
    person_record,
    record_name,
    usable_people,
)
from oasjax.errors import UserError


@dataclass(frozen=True)
class CocoFormDataset:
    """Where a data set keeps its files, and what it leaves to be filled in.

    Attributes:
        title: how messages call it.
        layout: one line: the files that a folder must hold.
        subfolders: where `find_folder` looks besides the folder itself.
        annotation_files: split -> its file, or names that it may have, the usual one first.
        image_folders: split -> the folder of its pictures, or several that it may be; "" is the
            data set's own.
        num_joints: of every person; None takes what the file says.
        unlabelled_splits: those whose file lists pictures only.
        annotated_area: take `area` from the file.
        area_per_box_area: where it is not taken or not there, this times the box's area is the
            person's; None makes `area` mandatory.
        boxes_from_joints: where there is no `bbox`, it is the labelled joints' box enlarged by 20 %.
        untold_joints: those whose v does not tell whether they are occluded.
    """

    title: str
    layout: str
    annotation_files: Mapping[str, tuple[str, ...]]
    image_folders: Mapping[str, tuple[str, ...]]
    num_joints: int | None
    subfolders: tuple[str, ...] = ()
    unlabelled_splits: tuple[str, ...] = ()
    annotated_area: bool = True
    area_per_box_area: float | None = None
    boxes_from_joints: bool = False
    untold_joints: tuple[int, ...] = ()

    def find_folder(self, data_dir: str | Path) -> Path:
        """The folder that holds an annotation file: `data_dir` itself or its usual subfolder.

        Raises:
            UserError: none does; the message names the files and the option to pass.
        """
        data_dir = Path(data_dir)
        for folder in (data_dir, *(data_dir / name for name in self.subfolders)):
            if any(self._existing_file(folder, split) for split in self.annotation_files):
                return folder
        problem = "it lacks them" if data_dir.is_dir() else "there is no such folder"
        places = f"there or in its subfolder {' or '.join(self.subfolders)}" if self.subfolders else "there"
        raise UserError(
            f"{self.title} not found in {data_dir}: {problem}. Expected {places}: {self.layout}. "
            "Pass --config.data.data_dir=FOLDER."
        )

    def splits_of(self, folder: Path) -> tuple[str, ...]:
        """The splits with people whose annotation file and folder of pictures are there."""
        return tuple(
            split
            for split in self.annotation_files
            if split not in self.unlabelled_splits
            and self._existing_file(folder, split)
            and any((folder / name).is_dir() for name in self.image_folders[split])
        )

    def annotation_file(self, folder: Path, split: str) -> Path:
        """The annotation file of a split.

        Raises:
            UserError: it is not there.
        """
        path = self._existing_file(folder, split)
        if path is None:
            raise UserError(
                f"{self.title} has no annotations of its {split} split in {folder}: expected "
                f"{self.annotation_files[split][0]}. Put it there."
            )
        return path

    def read_images(self, folder: Path, split: str) -> list[dict[str, Any]]:
        """All pictures of a split, with people or without, whether their files are there or not.

        Returns:
            Dicts of `image_id` (file name), `image_path`, `image_number` (id), and `width` and `height`
            as the annotations state them.

        Raises:
            UserError: as of `coco_format.images_of`.
        """
        path = self.annotation_file(folder, split)
        images = images_of(path, read_document(path))
        images_dir = self._images_dir(folder, split, [image.file_name for image in images])
        return [
            {
                "image_id": image.file_name,
                "image_path": os.path.join(images_dir, image.file_name),
                "image_number": image.number,
                "width": image.width,
                "height": image.height,
            }
            for image in images
        ]

    def read_people(self, folder: Path, split: str) -> PeopleOfSplit:
        """The people that HRNet's protocol takes: no crowd, a labelled joint, an area.

        Args:
            folder: as `find_folder` returns it.
            split: a key of `annotation_files`.

        Returns:
            Person records, picture by picture, with `segmentation` (compressed run-length code over the
            picture, b"" where there is none or it means nothing) and `is_crowd`.

        Raises:
            UserError: as of `coco_format.read_keypoint_file`; a split without people; no picture there.
        """
        if split in self.unlabelled_splits:
            raise UserError(
                f"The {split} split of {self.title} has no annotated people: pass the boxes of a detector, "
                "--config.data.boxes_path=FILE.json."
            )
        file = self._read(folder, split)
        to_ignore, area = file.to_ignore, self._areas(file)
        without_area = ~to_ignore & ~(np.isfinite(area) & (area > 0))
        remarks = {
            "crowds, for scores to ignore": _names(file, file.is_crowd),
            "people without a labelled joint, for scores to ignore": _names(file, to_ignore & ~file.is_crowd),
        }
        left_out = {"without a positive area": _names(file, without_area)}
        kept = np.flatnonzero(~to_ignore & ~without_area)
        return self._people(f"{self.title} {split}", folder, split, file, kept, left_out, remarks)

    def read_ignored(self, folder: Path, split: str) -> list[dict[str, Any]]:
        """Crowds and people without a labelled joint: predictions on them count neither way.

        Records as `read_people` gives them; an area may be 0.
        """
        if split in self.unlabelled_splits:
            return []
        file = self._read(folder, split)
        chosen = np.flatnonzero(file.to_ignore)
        return self._people(f"{self.title} {split}, to ignore", folder, split, file, chosen, {}, {})

    def read_boxes(self, folder: Path, split: str, boxes_path: str | Path) -> PeopleOfSplit:
        """A detector's person boxes as people without labels, in the order of the file.

        Boxes of other categories and of pictures that the split does not have are left out and counted.

        Args:
            folder: as `find_folder` returns it.
            split: any, also one without annotated people.
            boxes_path: JSON list of {image_id, category_id, bbox [x, y, w, h], score}.

        Returns:
            Person records: visibility 0, `box_score` the detector's, `area` the box's.

        Raises:
            UserError: no such file; no box belongs to a person in a picture of the split.
        """
        path, boxes_path = self.annotation_file(folder, split), Path(boxes_path)
        document = read_document(path)
        images = images_of(path, document)
        name_of = {image.number: image.file_name for image in images}
        detected = read_detected_boxes(boxes_path)
        joints = self.num_joints or len(keypoint_category(path, document)["keypoints"])
        person, known = person_category_number(document), np.array(list(name_of), np.int64)
        of_person = detected.category_numbers == person
        in_split = np.isin(detected.image_numbers, known)
        if not (of_person & in_split).any():
            raise UserError(
                f"{boxes_path}: none of its {len(of_person)} boxes is of a person (category {person}) in a "
                f"picture of {path}. Is it the boxes of another split?"
            )
        candidates = [
            {
                **person_record(
                    image_id=name_of[number],
                    keypoints=np.zeros((joints, 2), np.float32),
                    visibility=np.zeros(joints, np.int8),
                    occlusion_known=np.zeros(joints, np.bool_),
                    bbox_xywh=bbox_xywh,
                    area=float(bbox_xywh[2] * bbox_xywh[3]),
                    image_number=number,
                    box_score=score,
                ),
                "segmentation": b"",
                "is_crowd": False,
            }
            for number, bbox_xywh, score in zip(
                detected.image_numbers[of_person & in_split].tolist(),
                detected.bbox_xywh[of_person & in_split],
                detected.scores[of_person & in_split].tolist(),
                strict=True,
            )
        ]
        names = [image.file_name for image in images]
        left_out = {
            "boxes of another category": [f"position {n}" for n in np.flatnonzero(~of_person)],
            "boxes in pictures that the annotations do not hold": [
                f"image {number}" for number in detected.image_numbers[of_person & ~in_split]
            ],
        }
        return usable_people(
            f"{self.title} {split}, boxes of {boxes_path.name}",
            candidates,
            self._images_dir(folder, split, names),
            names,
            self.layout,
            need_labels=False,
            left_out=left_out,
        )

    def ground_truth(self, folder: Path, split: str) -> dict[str, Any]:
        """The document that keypoint AP needs: the file's people in the pictures that are there.

        Every annotation has `area`, `bbox`, `iscrowd` and `num_keypoints` (joints with v > 0); crowds
        and people without labels are in it. Pictures keep all fields of the file (crowdIndex).
        """
        file = self._read(folder, split)
        names = [image.file_name for image in file.images]
        existing = existing_files(self._images_dir(folder, split, names), names)
        boxes, areas = np.nan_to_num(file.bbox_xywh).tolist(), np.nan_to_num(self._areas(file)).tolist()
        num_labelled = (file.visibility > 0).sum(1).tolist()
        return {
            "images": [entry for entry in file.image_entries if entry["file_name"] in existing],
            "categories": [file.category],
            "annotations": [
                {**entry, "bbox": box, "area": area, "num_keypoints": number, "iscrowd": int(is_crowd)}
                for entry, image, box, area, number, is_crowd in zip(
                    file.entries, file.image_index, boxes, areas, num_labelled, file.is_crowd, strict=True
                )
                if names[image] in existing
            ],
        }

    def _existing_file(self, folder: Path, split: str) -> Path | None:
        paths = (folder / name for name in self.annotation_files[split])
        return next((path for path in paths if path.is_file()), None)

    def _images_dir(self, folder: Path, split: str, names: list[str]) -> Path:
        """The first of the possible folders that holds a picture, else the first."""
        candidates = [folder / name for name in self.image_folders[split]]
        if len(candidates) == 1:
            return candidates[0]
        return next((path for path in candidates if existing_files(path, names)), candidates[0])

    def _read(self, folder: Path, split: str) -> KeypointFile:
        return read_keypoint_file(
            self.annotation_file(folder, split),
            self.num_joints,
            needs_area=self.annotated_area and self.area_per_box_area is None,
            needs_box=not self.boxes_from_joints,
        )

    def _areas(self, file: KeypointFile) -> Float[np.ndarray, "n"]:
        if self.area_per_box_area is None:
            return file.area
        of_box = self.area_per_box_area * file.bbox_xywh[:, 2] * file.bbox_xywh[:, 3]
        return np.where(np.isnan(file.area), of_box, file.area) if self.annotated_area else of_box

    def _people(
        self,
        title: str,
        folder: Path,
        split: str,
        file: KeypointFile,
        chosen: Int[np.ndarray, "m"],
        left_out: dict[str, list[str]],
        remarks: dict[str, list[str]],
    ) -> PeopleOfSplit:
        keypoints, area = file.keypoints.astype(np.float32), self._areas(file)
        told = np.ones(keypoints.shape[1], np.bool_)
        told[list(self.untold_joints)] = False
        candidates, without_mask = [], []
        for n in chosen.tolist():
            image = file.images[file.image_index[n]]
            record = person_record(
                image_id=image.file_name,
                keypoints=keypoints[n],
                # Labelled joints of unknown occlusion are stored as visible.
                visibility=np.where(told | (file.visibility[n] == 0), file.visibility[n], np.int8(2)),
                occlusion_known=told & (file.visibility[n] > 0),
                bbox_xywh=file.bbox_xywh[n],
                area=float(area[n]),
                image_number=image.number,
                person_number=int(file.person_numbers[n]),
            )
            counts = compressed_counts(file.entries[n].get("segmentation"), image.height, image.width)
            if counts is None:
                without_mask.append(record_name(record))
            candidates.append({**record, "segmentation": counts or b"", "is_crowd": bool(file.is_crowd[n])})
        names = [image.file_name for image in file.images]
        return usable_people(
            title,
            candidates,
            self._images_dir(folder, split, names),
            names,
            self.layout,
            need_labels=False,
            left_out=left_out,
            remarks={**remarks, "segmentations that mean nothing, taken as none": without_mask},
        )


def _names(file: KeypointFile, chosen: Bool[np.ndarray, "n"]) -> list[str]:
    return [
        f"{file.images[file.image_index[n]].file_name} person {file.person_numbers[n]}"
        for n in np.flatnonzero(chosen)
    ]
