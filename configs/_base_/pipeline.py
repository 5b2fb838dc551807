# From image-level labels to a segmentation network, for tools/run_pipeline.py. A pipeline of your own sets the
# variables that are None here; {name} in a stage is the variable of that name, @file the content of a file.
work_dir = None  # folder of all results
inputs = None  # files and folders that have to be there, all that the stages read and do not make
sipe_config = None
irn_config = None
seg_config = None
split = None  # of the images to learn from: a name in the configs' `splits`, or a list
score_split = None  # of those that have masks to score CAMs and pseudo labels against

# Which label maps to train segmentation networks on; the last ones are usually the best.
seg_labels = dict(irn_crf='{work_dir}/labels/irn_crf')
# More words for the commands, such as ['--cfg-options', 'train_cfg.max_epochs=10']. What changes a model that both
# learns and predicts, such as model.decode_head.alpha_on=map, belongs into the options of both commands.
sipe_options = []  # train_sipe
cam_options = []  # generate_cams
ir_options = []  # make_ir_labels
irn_options = []  # train_irn
irn_label_options = []  # generate_irn_labels, such as ['--cfg-options', 'model.test_cfg.beta=10']
seg_options = []  # train_seg_...
seg_test_options = []  # score_seg_...
seg_test_modules = []  # Python modules that these options need, such as 'pydensecrf' for the CRF at test time

# More than one GPU: launch = ['torchrun', '--nproc-per-node', '4'] and launcher = ['--launcher', 'pytorch']. Batches
# are per GPU: for the same training, divide train_dataloader.batch_size by as many (in the options above).
launch = []
launcher = []

no_validation = ['--cfg-options', 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None']
# Keys of the configs that decide nothing in a training: one who changes them need not train again.
not_of_training = ['val_*', 'test_*', 'tta_*', 'model.test_cfg', 'splits', 'default_hooks.fold_batch_norm']
irn_env = dict(IR_LABELS='{work_dir}/ir_labels', CAM_FILES='{work_dir}/cams')
stages = [
    dict(
        name='train_sipe',
        run='{launch} tools/train.py {sipe_config} --work-dir {work_dir}/sipe --resume {launcher} '
        '{no_validation} {sipe_options}',
        needs=['{inputs}'],
        makes=['{work_dir}/sipe'],
        ignores=['{not_of_training}'],
    ),
    dict(
        name='generate_cams',
        run='{launch} tools/generate_labels.py {sipe_config} @{work_dir}/sipe/last_checkpoint --split {split} '
        '--out {work_dir}/labels/is_cam --cams {work_dir}/cams {launcher} {cam_options}',
        needs=['{inputs}', '{work_dir}/sipe'],
        makes=['{work_dir}/labels/is_cam', '{work_dir}/cams'],
    ),
    dict(
        name='score_is_cam',
        title='IS-CAM',
        run='tools/evaluate_labels.py {work_dir}/labels/is_cam --dataset {sipe_config} --split {score_split} '
        '--json {work_dir}/scores/is_cam.json',
        needs=['{inputs}', '{work_dir}/labels/is_cam'],
        makes=['{work_dir}/scores/is_cam.json'],
        figures='{work_dir}/scores/is_cam.json',
    ),
    dict(
        name='refine_is_cam',
        run='tools/refine_labels.py crf {sipe_config} {work_dir}/labels/is_cam --split {split} '
        '--out {work_dir}/labels/is_cam_crf',
        needs=['{inputs}', '{work_dir}/labels/is_cam'],
        makes=['{work_dir}/labels/is_cam_crf'],
        modules=['pydensecrf'],
    ),
    dict(
        name='score_is_cam_crf',
        title='IS-CAM + CRF',
        run='tools/evaluate_labels.py {work_dir}/labels/is_cam_crf --dataset {sipe_config} --split {score_split} '
        '--json {work_dir}/scores/is_cam_crf.json',
        needs=['{inputs}', '{work_dir}/labels/is_cam_crf'],
        makes=['{work_dir}/scores/is_cam_crf.json'],
        figures='{work_dir}/scores/is_cam_crf.json',
    ),
    dict(
        name='make_ir_labels',
        run='tools/refine_labels.py ir {sipe_config} {work_dir}/cams --split {split} --out {work_dir}/ir_labels '
        '{ir_options}',
        needs=['{inputs}', '{work_dir}/cams'],
        makes=['{work_dir}/ir_labels'],
        modules=['pydensecrf'],
    ),
    dict(
        name='score_ir_labels',
        title='IR labels, where they are known',
        run='tools/evaluate_labels.py {work_dir}/ir_labels --dataset {sipe_config} --split {score_split} '
        '--ignore-unknown --json {work_dir}/scores/ir_labels.json',
        needs=['{inputs}', '{work_dir}/ir_labels'],
        makes=['{work_dir}/scores/ir_labels.json'],
        figures='{work_dir}/scores/ir_labels.json',
    ),
    dict(
        name='train_irn',
        run='{launch} tools/train.py {irn_config} --work-dir {work_dir}/irn --resume {launcher} {irn_options}',
        env=irn_env,
        needs=['{inputs}', '{work_dir}/ir_labels'],
        makes=['{work_dir}/irn'],
        ignores=['{not_of_training}'],
    ),
    dict(
        name='generate_irn_labels',
        run='{launch} tools/generate_labels.py {irn_config} @{work_dir}/irn/last_checkpoint --split {split} '
        '--out {work_dir}/labels/irn {launcher} {irn_label_options}',
        env=irn_env,
        needs=['{inputs}', '{work_dir}/irn', '{work_dir}/cams'],
        makes=['{work_dir}/labels/irn'],
    ),
    dict(
        name='score_irn',
        title='IS-CAM + IRN',
        run='tools/evaluate_labels.py {work_dir}/labels/irn --dataset {sipe_config} --split {score_split} '
        '--json {work_dir}/scores/irn.json',
        needs=['{inputs}', '{work_dir}/labels/irn'],
        makes=['{work_dir}/scores/irn.json'],
        figures='{work_dir}/scores/irn.json',
    ),
    dict(
        name='refine_irn',
        run='tools/refine_labels.py crf {sipe_config} {work_dir}/labels/irn --split {split} '
        '--out {work_dir}/labels/irn_crf',
        needs=['{inputs}', '{work_dir}/labels/irn'],
        makes=['{work_dir}/labels/irn_crf'],
        modules=['pydensecrf'],
    ),
    dict(
        name='score_irn_crf',
        title='IS-CAM + IRN + CRF',
        run='tools/evaluate_labels.py {work_dir}/labels/irn_crf --dataset {sipe_config} --split {score_split} '
        '--json {work_dir}/scores/irn_crf.json',
        needs=['{inputs}', '{work_dir}/labels/irn_crf'],
        makes=['{work_dir}/scores/irn_crf.json'],
        figures='{work_dir}/scores/irn_crf.json',
    ),
    dict(
        name='train_seg_{key}',
        for_each='seg_labels',
        run='{launch} tools/train.py {seg_config} --work-dir {work_dir}/seg/{key} --resume {launcher} '
        '{no_validation} {seg_options}',
        env=dict(PSEUDO_LABELS='{value}'),
        needs=['{inputs}', '{value}'],
        makes=['{work_dir}/seg/{key}'],
        ignores=['{not_of_training}'],
    ),
    dict(
        name='score_seg_{key}',
        for_each='seg_labels',
        title='segmentation network, learnt from {key}',
        run='{launch} tools/test.py {seg_config} @{work_dir}/seg/{key}/last_checkpoint '
        '--work-dir {work_dir}/scores/seg_{key} {launcher} {seg_test_options}',
        needs=['{inputs}', '{work_dir}/seg/{key}'],
        makes=['{work_dir}/scores/seg_{key}'],
        modules=['{seg_test_modules}'],
        figures='{work_dir}/scores/seg_{key}/*/*.json',
    ),
]
